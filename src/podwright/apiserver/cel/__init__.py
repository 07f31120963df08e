"""Kubernetes' Common Expression Language: compiled once, evaluated often.

Shared by admission (policies and match conditions) and by the validation rules of custom resources.
"""

from podwright.apiserver.cel.errors import BudgetExceeded, CompileError, EvaluationError
from podwright.apiserver.cel.evaluation import Lazy, LazyMap, Program, compile_expression

__all__ = [
    "BudgetExceeded",
    "CompileError",
    "EvaluationError",
    "Lazy",
    "LazyMap",
    "Program",
    "compile_expression",
]
