"""Our classes are known to Keras after `import kobert_tf2`, whichever of the two is imported first."""

import subprocess
import sys

import pytest
from slow_cases import rest_slow

KNOWN = "print(keras.saving.get_registered_object('kobert_tf2>BertBackbone'))"


@pytest.mark.parametrize("imports", rest_slow(["import kobert_tf2, keras", "import keras, kobert_tf2"]))
def test_classes_are_registered(imports):
    command = [sys.executable, "-c", f"{imports}; {KNOWN}"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "kobert_tf2.bert.models.BertBackbone" in result.stdout
