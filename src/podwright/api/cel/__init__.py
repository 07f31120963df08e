"""Kubernetes' Common Expression Language: compiled once, evaluated often.

Shared by admission (policies and match conditions), the validation rules of custom resources and the scheduler (device
selectors).
"""

from podwright.api.cel.errors import BudgetExceeded, CompileError, EvaluationError
from podwright.api.cel.evaluation import Lazy, LazyMap, Program, compile_expression

__all__ = [
    "BudgetExceeded",
    "CompileError",
    "EvaluationError",
    "Lazy",
    "LazyMap",
    "Program",
    "compile_expression",
]
