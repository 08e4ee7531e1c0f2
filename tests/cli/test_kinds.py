"""What a configuration says in the place of a group or of a number is refused by its key."""

import pytest

from lightning_advinterp.cli.evaluation.command import evaluate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("semantics: 3", "semantics must be a group of keys, such as semantics."),
        ("semantics: true", "semantics must be a group of keys, such as semantics."),
        ("semantics: {share: null}", "semantics.share must be of the kind float, got null"),
        ("seed: null", "seed must be of the kind int, got null"),
        ("analyses: null", "analyses must be of the kind"),
        ("analyses: .x", "expected the path of a class"),
        ("limit: !!python/name:os.system", "is not plain YAML"),
        ("limit: *none", "is not plain YAML"),
        ("limit: !!binary x", "is not plain YAML"),
    ],
)
def test_a_key_of_another_kind_is_named(text, message, tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(f"checkpoint: a.ckpt\n{text}\n")
    with pytest.raises(SystemExit) as stop:
        evaluate(["--config", str(tmp_path / "c.yaml"), "--output", str(tmp_path / "out")])
    assert stop.value.code == 2
    told = capsys.readouterr().err.strip()
    assert told.startswith("error: ")
    assert message in told
    assert "Traceback" not in told


def test_what_may_be_null_is_taken(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text("checkpoint: a.ckpt\nattack: null\nlimit: null\nlayers: null\n")
    with pytest.raises(SystemExit):
        evaluate(["--config", str(tmp_path / "c.yaml"), "--output", str(tmp_path / "out")])
    assert "no file a.ckpt" in capsys.readouterr().err
