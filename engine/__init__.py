"""The engine's public surface: all that the app imports.

Engine, Model, Answer, Refusal   load, encode, edit, decode, films (engine.serve)
Factor                           one row of a model's table of factors (engine.factors)
Name                             what a factor is called, and why (engine.names)
exchange                         swaps, matrices and new content of a served model (engine.exchange)
swaps                            swaps, blends and matrices of codes (engine.swaps)
gallery                          the shipped sample images of a data set (engine.gallery)
LatentMap, map_of, apart          where pictures lie by their codes (engine.latent_map)
figure_of                         such a map as a plotly figure (engine.latent_figure)
pictures_of, truth_of             pictures and true factors of a data set by number (engine.samples)
Study, studies, study_of, mosaic what spectral methods find in a manifold of pictures (engine.study)
"""

from engine import exchange, swaps
from engine.factors import Factor
from engine.gallery import gallery
from engine.latent_figure import figure_of
from engine.latent_map import LatentMap, apart, map_of
from engine.names import Name
from engine.samples import pictures_of, truth_of
from engine.serve import MODELS, Answer, Engine, Model, Refusal
from engine.study import Study, mosaic, studies, study_of

__all__ = [
    "MODELS", "Answer", "Engine", "Factor", "LatentMap", "Model", "Name", "Refusal", "Study", "apart", "exchange",
    "figure_of", "gallery", "map_of", "mosaic", "pictures_of", "studies", "study_of", "swaps", "truth_of",
]
