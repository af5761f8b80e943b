"""Which processors compute bfloat16, by what the kernel says of them, and who is warned."""

import pytest

from kobert_tf2 import processor

INTEL = (
    "processor\t: 0\nmodel name\t: Some Xeon\nflags\t\t: fpu avx2 avx512f {more}\n\nprocessor\t: 1\nflags\t\t: fpu\n"
)
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd {more}\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (INTEL.format(more="avx512_bf16"), True),
        (INTEL.format(more="amx_tile amx_bf16"), True),
        (INTEL.format(more="avx512_vnni"), False),
        (INTEL.format(more="my_avx512_bf16_x"), False),
        (ARM.format(more="bf16 i8mm"), True),
        (ARM.format(more="i8mm"), False),
        ("", None),
        ("hart: 0\nisa: rv64imafdc\n", None),
    ],
)
def test_bfloat16_in_hardware(content, expected):
    assert processor.parse_cpu_info(content).has_bfloat16 is expected


def test_the_first_processor_counts():
    found = processor.parse_cpu_info(INTEL.format(more="avx512_bf16"))
    assert found.name == "Some Xeon"
    assert found.instruction_sets() == ["avx2", "avx512f", "avx512_bf16"]


@pytest.mark.parametrize(("more", "lines"), [("avx512_bf16", 0), ("", 1)])
def test_emulation_is_reported_once_with_the_flag_to_take(more, lines, monkeypatch, capsys):
    monkeypatch.setattr(processor, "this_processor", lambda: processor.parse_cpu_info(INTEL.format(more=more)))
    processor._warn_once.cache_clear()
    for _ in range(2):
        processor.warn_of_emulated_bfloat16()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == lines
    assert all("Some Xeon" in line and "--precision=float32" in line for line in said)


def test_an_unknown_system_is_not_warned(monkeypatch, capsys):
    monkeypatch.setattr(processor, "this_processor", lambda: processor.Processor("somewhere", None))
    processor.warn_of_emulated_bfloat16()
    assert capsys.readouterr().err == ""


def test_this_machine_is_read():
    assert processor.this_processor().name
