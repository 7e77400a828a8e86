"""Holds documents against JSON Schemas: reads [[schema, document, sound], …], says which pair is not as it should be."""

import json
import sys

from jsonschema import Draft202012Validator

for schema, document, sound in json.load(sys.stdin):
    Draft202012Validator.check_schema(schema)
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(document)]
    if (not errors) != sound:
        print(schema["title"], "|", json.dumps(document)[:400], "|", errors[:3])
