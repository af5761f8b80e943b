"""Malformed JSON, for testing every reader of external JSON."""

LISTS = "[" * 100_000
BAD_JSON = {
    "nested lists": LISTS,
    "nested lists that end": LISTS + "]" * 100_000,
    "nested objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "a long number": '{"a": ' + "9" * 1_000_000 + "}",
    "a long negative number": "[-" + "9" * 1_000_000 + "]",
    "more than 64 bits": "[18446744073709551616]",
    "a long fraction": '{"a": ' + "9" * 1_000_000 + ".5}",
    "a large exponent": '{"a": 1e999}',
    "NaN": '{"a": NaN}',
    "Infinity": '{"a": [1, -Infinity]}',
    "nothing": " \n",
    "two": "{} {}",
}
