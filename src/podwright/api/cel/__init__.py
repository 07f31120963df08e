"""Kubernetes' Common Expression Language: compiled once, evaluated often.

Shared by admission (policies and match conditions), the validation rules of custom resources and the scheduler (device
selectors).
"""

from podwright.api.cel.errors import BudgetExceeded, BudgetExhausted, CompileError, EvaluationError
from podwright.api.cel.evaluation import Lazy, LazyMap, Program, compile_expression
from podwright.api.cel.spending import CONDITIONS, Budget

__all__ = [
    "CONDITIONS", "Budget", "BudgetExceeded", "BudgetExhausted", "CompileError", "EvaluationError", "Lazy", "LazyMap",
    "Program", "compile_expression",
]
