"""The flags of the export tool: what is not given is left to the model."""

import dataclasses
import json

import warm_python
from paths import ROOT

from kobert_tf2.reading.settings import ReadingSettings

DEFAULTS = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("export_model", sys.argv[1])
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)
print(json.dumps({name: tool.FLAGS[name].default for name in tool.READING}))
"""


def test_reading_settings_that_are_not_given_are_those_of_the_model():
    defaults = json.loads(warm_python.run(["-c", DEFAULTS, ROOT / "tools" / "export_model.py"]).stdout)
    fields = {field.name for field in dataclasses.fields(ReadingSettings)}
    # A SavedModel and its text signature give the span as it stands; whether it loses its particle is the predictor's.
    assert defaults.keys() == fields - {"strip_josa"}
    assert set(defaults.values()) == {None}
