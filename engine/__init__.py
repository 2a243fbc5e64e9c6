"""The engine's public surface: all that the app imports.

Engine, Model, Answer, Refusal   load, encode, edit, decode, films (engine.serve)
Factor                           one row of a model's table of factors (engine.factors)
Name                             what a factor is called, and why (engine.names)
exchange                         swaps, matrices and new content of a served model (engine.exchange)
swaps                            swaps, blends and matrices of codes (engine.swaps)
difference, leak, plane          pictures minus pictures, what an edit carries along, two factors at once
gallery                          the shipped sample images of a data set (engine.gallery)
LatentMap, map_of, maps_of, apart where pictures lie by their codes (engine.latent_place, engine.map_store)
MapJob, OwnMap                    a map of somebody's own pictures, made by a process of its own (engine.map_job)
provenance, snippet               the origin inside a saved file, a picture as a program
inversion                         codes that draw a picture better than the encoder's (engine.inversion)
figures, films                    traversal sheets, GIF and MP4
fields                            what the field of each factor does to a picture, where a model has fields
frame_of                          how users' pictures are framed for a model of a data set (engine.framing)
alignment                        which factors of several models mean the same, and how fast models are
figure_of                         such a map as a plotly figure (engine.latent_figure)
pictures_of, truth_of             pictures and true factors of a data set by number (engine.samples)
rebuild                           targets to rebuild, and how near one has come (engine.rebuild)
Study, studies, study_of, mosaic what spectral methods find in a manifold of pictures (engine.study)
"""

from engine import (
    alignment,
    difference,
    exchange,
    fields,
    figures,
    films,
    inversion,
    leak,
    plane,
    provenance,
    rebuild,
    snippet,
    swaps,
)
from engine.factors import Factor
from engine.framing import frame_of
from engine.gallery import gallery
from engine.latent_figure import figure_of
from engine.latent_place import LatentMap, apart
from engine.map_job import MapJob, OwnMap
from engine.map_store import map_of, maps_of
from engine.names import Name
from engine.samples import pictures_of, truth_of
from engine.serve import MODELS, Answer, Engine, Model, Refusal
from engine.study import Study, mosaic, studies, study_of

__all__ = [
    "MODELS", "Answer", "Engine", "Factor", "LatentMap", "MapJob", "Model", "Name", "OwnMap", "Refusal", "Study",
    "alignment", "apart", "difference", "exchange", "fields", "figure_of", "figures", "films", "frame_of", "gallery",
    "inversion", "leak", "map_of", "maps_of", "mosaic", "pictures_of", "plane", "provenance", "rebuild", "snippet",
    "studies", "study_of", "swaps", "truth_of",
]
