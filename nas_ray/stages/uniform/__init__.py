"""The pipeline of plain encoders: profile, search (the FPTAS), test, report."""

from nas_ray.stages.uniform._checks import changed, check_extraction, check_maximum

__all__ = ["changed", "check_extraction", "check_maximum"]
