"""A simulated world with latent topics that stands in for private logs. It knows of no model."""

from omnifeat.simulator.simulate import SCALES, STEPS, Scale, SimulationResult, simulate
from omnifeat.simulator.sources import DEFAULT_SOURCES, SOURCES

__all__ = ["DEFAULT_SOURCES", "SCALES", "SOURCES", "STEPS", "Scale", "SimulationResult", "simulate"]
