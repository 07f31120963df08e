"""The message forms, letter by letter."""

from __future__ import annotations

import pytest

from podwright.api.status import FieldError
from podwright.api.validation import field_errors as f


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (f.required("x"), "FieldValueRequired", "Required value"),
        (f.required("x", "why"), "FieldValueRequired", "Required value: why"),
        (f.invalid("x", "a", "why"), "FieldValueInvalid", 'Invalid value: "a": why'),
        (f.invalid("x", 5, "why"), "FieldValueInvalid", "Invalid value: 5: why"),
        (f.invalid("x", True, "why"), "FieldValueInvalid", "Invalid value: true: why"),
        (f.invalid("x", None, "why"), "FieldValueInvalid", "Invalid value: null: why"),
        (f.invalid("x", {"b": 1, "a": [2]}, "why"), "FieldValueInvalid", 'Invalid value: {"a":[2],"b":1}: why'),
        (f.invalid("x", 'q"\n', "why"), "FieldValueInvalid", 'Invalid value: "q\\"\\n": why'),
        (f.type_invalid("x", "a", "why"), "FieldValueTypeInvalid", 'Invalid value: "a": why'),
        (
            f.not_supported("x", "a", ["B", "C"]),
            "FieldValueNotSupported",
            'Unsupported value: "a": supported values: "B", "C"',
        ),
        (f.duplicate("x", "a"), "FieldValueDuplicate", 'Duplicate value: "a"'),
        (f.not_found("x", "a"), "FieldValueNotFound", 'Not found: "a"'),
        (f.forbidden("x", "why"), "FieldValueForbidden", "Forbidden: why"),
        (f.too_long("x", 5), "FieldValueTooLong", "Too long: may not be more than 5 bytes"),
        (f.too_long("x", 1), "FieldValueTooLong", "Too long: may not be more than 1 byte"),
        (f.too_many("x", 3, 2), "FieldValueTooMany", "Too many: 3: must have at most 2 items"),
        (f.internal("x", "why"), "InternalError", "Internal error: why"),
        (f.immutable("x", "a"), "FieldValueInvalid", 'Invalid value: "a": field is immutable'),
    ],
)
def test_messages(error: FieldError, reason: str, message: str) -> None:
    assert error == FieldError("x", reason, message)
