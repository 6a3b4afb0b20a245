#!/usr/bin/env python3
"""Holds messages against a JSON Schema, draft 2020-12.

    validate_messages.py --schema FILE < messages

One JSON message a line on standard input. Prints every failure; exit code 1 if there is one, if
no message came, or if the schema or one of its own examples is wrong. Needs only Debian's
python3-jsonschema.
"""

import argparse
import datetime
import decimal
import json
import sys

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import SchemaError

formats = FormatChecker()


# jsonschema checks date-time only where another package is installed, and skips it in silence.
@formats.checks("date-time", raises=ValueError)
def is_date_time(value):
    # Shape and offset are the schema's own patterns; this asks whether such a time exists.
    if isinstance(value, str):
        datetime.datetime.fromisoformat(value.upper())
    return True


def refuse_constant(word):
    raise ValueError(f"{word} is not JSON")


def without_repeats(pairs):
    names = [name for name, _ in pairs]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"given twice: {', '.join(sorted(repeated))}")
    return dict(pairs)


def strict(text):
    """Reads JSON so that 50.0 is no integer and no key hides another."""
    return json.loads(
        text,
        parse_float=decimal.Decimal,
        parse_constant=refuse_constant,
        object_pairs_hook=without_repeats,
    )


def faults(validator, message):
    for error in sorted(validator.iter_errors(message), key=lambda error: list(error.absolute_path)):
        yield f"{error.json_path}: {error.message}"


def main():
    options = argparse.ArgumentParser(description="Holds messages against a JSON Schema.")
    options.add_argument("--schema", required=True, metavar="FILE")
    options = options.parse_args()

    with open(options.schema, encoding="utf-8") as file:
        schema = json.load(file)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        print(f"{options.schema}: {error.json_path}: {error.message}")
        return 1
    validator = Draft202012Validator(schema, format_checker=formats)

    bad = 0

    def tell(where, found):
        nonlocal bad
        for fault in found:
            print(f"{where}: {fault}")
            bad += 1

    for number, example in enumerate(schema.get("examples", [])):
        tell(f"{options.schema}: example {number}", faults(validator, example))

    seen = 0
    for number, line in enumerate(sys.stdin.buffer, start=1):
        if not line.strip():
            continue
        seen += 1
        try:
            message = strict(line.decode("utf-8"))
        except ValueError as error:
            tell(f"line {number}", [str(error)])
        else:
            tell(f"line {number}", faults(validator, message))

    # A pipe that brought nothing must not look like a pass.
    if seen == 0:
        tell("standard input", ["no message"])
    print(f"{seen} messages, {bad} failures", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
