"""The engine's public surface: all that the app imports.

Engine, Model, Answer, Refusal   load, encode, edit, decode, films (engine.serve)
Factor                           one row of a model's table of factors (engine.factors)
gallery                          the shipped sample images of a data set (engine.gallery)
"""

from engine.factors import Factor
from engine.gallery import gallery
from engine.serve import MODELS, Answer, Engine, Model, Refusal

__all__ = ["MODELS", "Answer", "Engine", "Factor", "Model", "Refusal", "gallery"]
