"""Files that version 0.1 wrote (`version_0_1/`, by its last commit) load in a new process and answer as they did."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from slow_cases import rest_slow

FOLDER = pathlib.Path(__file__).parent / "version_0_1"
SCRIPT = """
import json, sys
import numpy as np
{imports}
import keras
model = keras.models.load_model(sys.argv[1])
x = {"input_ids": [[2, 7, 9, 3, 0]], "input_mask": [[1, 1, 1, 1, 0]], "segment_ids": [[0, 0, 1, 1, 0]]}
outputs = model({name: np.array(values) for name, values in x.items()})
print(json.dumps(keras.tree.map_structure(lambda tensor: np.asarray(tensor).tolist(), outputs)))
"""


@pytest.mark.parametrize(
    "imports",
    rest_slow(["import keras, kobert_tf2", "import kobert_tf2, keras", "import kobert_tf2; kobert_tf2.BertConfig"]),
)
@pytest.mark.parametrize("name", ["reader", "own_head"])
def test_a_keras_file_of_version_0_1_loads_after_importing_the_package_alone(name, imports):
    command = [sys.executable, "-c", SCRIPT.replace("{imports}", imports), str(FOLDER / f"{name}.keras")]
    answers = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    expected = json.loads((FOLDER / "answers.json").read_text())[name]
    for ours, theirs in zip(*map(_leaves, (answers, expected)), strict=True):
        assert np.abs(np.array(ours) - np.array(theirs)).max() < 1e-5


def _leaves(answers) -> list:
    return [answers[key] for key in sorted(answers)] if isinstance(answers, dict) else [answers]


def test_the_module_names_of_the_readme_are_still_importable():
    from kobert_tf2 import classification
    from kobert_tf2.labelling import sentences

    assert classification is sentences
