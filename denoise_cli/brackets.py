"""Spec strings: what stands in brackets holds together."""

from __future__ import annotations


def split(spec: str, at: str) -> list[str]:
    """The parts of a spec between those of the characters `at` that stand outside of round brackets.

    Raises ValueError where brackets do not come in pairs, or stand within each other.
    """
    parts, depth = [""], 0
    for character in spec:
        depth += (character == "(") - (character == ")")
        if not 0 <= depth <= 1:
            break
        if character == at and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth != 0:
        raise ValueError(f'the brackets of "{spec}" do not match')
    return parts
