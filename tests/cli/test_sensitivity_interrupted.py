"""Sensitivity goes on where it was interrupted: in the dissection before it, in its sweeps, in its masked networks."""

import pytest
from unit_evaluations import run, tables, write_inputs

from lightning_advinterp.analyses.base.journal import Journal
from lightning_advinterp.analyses.dissection.analysis import DissectionAnalysis
from lightning_advinterp.analyses.sensitivity.analysis import SensitivityAnalysis
from lightning_advinterp.analyses.sensitivity.masking import MaskingAnalysis

MASKS = ("--sensitivity.mask_units", "[4]", "--sensitivity.mask_steps", "1", "--sensitivity.mask_draws", "1")


class PowerCut(BaseException):  # no fault of the program, which would be explained
    pass


@pytest.mark.slow
def test_every_part_goes_on(tmp_path, monkeypatch):
    inputs = write_inputs(tmp_path)
    flags = ("--concepts", str(inputs / "broden"), "--batch_size", "4", "--layers", "layer3", *MASKS)
    expected = run(inputs, tmp_path / "whole", "sensitivity", *flags)
    save, batches, cuts = Journal.save, [], set()
    monkeypatch.setattr(Journal, "save", lambda *arguments, now=False: save(*arguments, now=True))  # after every batch
    for kind, places in ((DissectionAnalysis, (3,)), (SensitivityAnalysis, (2, 6)), (MaskingAnalysis, (1,))):
        _cut(monkeypatch, kind, places, batches, cuts)
    for _ in range(4):
        with pytest.raises(PowerCut):
            run(inputs, tmp_path / "parts", "sensitivity", *flags)
        assert not tables(tmp_path / "parts")
    assert run(inputs, tmp_path / "parts", "sensitivity", *flags) == expected
    assert len(batches) == len(set(batches)), "no batch is seen twice"
    assert not list((tmp_path / "parts").glob(".unfinished*"))


def _cut(monkeypatch, kind, places, batches, cuts):
    """Break off before the analysis sees the batches of some places, once each; note what it sees."""
    update = kind.update

    def watched(self, sweep, observation):
        place = sum(name == kind.__name__ for name, *_ in batches)
        if place in places and (kind, place) not in cuts:
            cuts.add((kind, place))
            raise PowerCut
        batches.append((kind.__name__, sweep, *observation.index.tolist()))
        update(self, sweep, observation)

    monkeypatch.setattr(kind, "update", watched)
