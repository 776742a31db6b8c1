"""The catalog of the survey: ``survey.load().query("technique:RVQ year>=2022")``; needs no torch."""

from survey.catalog import Catalog, Section, Work, load
from survey.problems import CatalogError, Problem, UnknownWork

__all__ = ["Catalog", "CatalogError", "Problem", "Section", "UnknownWork", "Work", "load"]
