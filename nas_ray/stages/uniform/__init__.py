"""The pipeline of plain encoders: profile, search (the FPTAS), test, report."""

from nas_ray.stages.uniform._checks import check_extraction, check_maximum

__all__ = ["check_extraction", "check_maximum"]
