"""Prompt templates: Jinja in a sandbox, where a missing column is an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pytest_bench.errors import UsageError

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)


def compile_template(source: str, origin: str) -> Template:
    """Raises `UsageError` that begins with `origin` for a template with a syntax error."""
    try:
        return _ENVIRONMENT.from_string(source)
    except TemplateError as error:
        raise UsageError(f"{origin}: invalid template: {error}") from error


def render(template: Template, row: Mapping[str, Any], origin: str) -> str:
    """Raises `UsageError` that begins with `origin` for a row that lacks a column, and for anything unsafe."""
    try:
        return template.render(**row)
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        raise UsageError(f"{origin}: the template cannot be rendered: {error}") from error
