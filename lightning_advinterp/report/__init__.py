"""Reports: figures, tables and pages, drawn from results alone."""

from lightning_advinterp.report.figures import accuracy_bars, attack_panel
from lightning_advinterp.report.save import save_results
from lightning_advinterp.report.table import accuracy_table, dissection_table, percent

__all__ = ["accuracy_bars", "accuracy_table", "attack_panel", "dissection_table", "percent", "save_results"]
