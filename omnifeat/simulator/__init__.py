"""A simulated world with latent topics that stands in for private logs. It knows of no model."""

from omnifeat.simulator.simulate import SCALES, STEPS, Scale, SimulationResult, simulate

__all__ = ["SCALES", "STEPS", "Scale", "SimulationResult", "simulate"]
