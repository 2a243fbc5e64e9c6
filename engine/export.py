"""From a trained model to a folder that can be shipped: factors, figures and card."""

from pathlib import Path

import torch
from torch import Tensor

from engine import checkpoint, factors, metrics, swaps
from engine.data import Dataset, split
from engine.method import Method

MEASURED = 10_000  # images for factor ranges and MIG


@torch.inference_mode()
def export(
    folder: Path,
    model: Method,
    dataset: Dataset,
    options: dict,
    command: str,
    seed: int,
    log: list[dict],
) -> Path:
    """Measure `model` and write its folder; returns the folder. The model's weights are then those of the folder.

    options: the run's resolved options. command: what reproduces it. log: its last row, if any.
    """
    model.eval()
    checkpoint.settle(model)
    device = next(model.parameters()).device
    held_out, some = split(len(dataset))[1], measured(dataset).to(device)
    images = dataset.images(some)
    table = factors.fit(model, images)
    codes = torch.cat([model.encode(part.float() / 255) for part in images.split(512)])

    figures = {"psnr_held_out_db": metrics.reconstruction(model, dataset.images(held_out[:2000].to(device)))}
    if dataset.factors and not any(swaps.sides(model.layout())):  # whose single numbers mean nothing
        labels = dataset.labels(some).cpu().numpy()
        continuous = [k for k, f in enumerate(dataset.factors) if not f.values]
        labels[:, continuous] = metrics.histogram_codes(labels)[:, continuous]
        seen = torch.cat([model.represent(part.float() / 255) for part in images.split(512)])
        figures["mig"] = metrics.mig(factors.readings(model.layout(), seen).cpu().numpy(), labels.astype("int64"))
    figures["visible_factors"] = len(factors.visible(table))
    figures = {k: round(v, 4) for k, v in figures.items()}

    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    checkpoint.save(folder, model, table, codes.mean(0), dataset.path or dataset.name,
                    card(model, dataset, options, command, seed, log, figures, machine), figures)
    return folder


def measured(dataset: Dataset) -> Tensor:
    """Numbers (MEASURED,) of the training images that factors are measured on."""
    train = split(len(dataset))[0]
    return train[torch.randint(len(train), (MEASURED,), generator=torch.Generator().manual_seed(0))]


def card(
    model: Method,
    dataset: Dataset,
    options: dict,
    command: str,
    seed: int,
    log: list[dict],
    figures: dict[str, float],
    machine: str,
) -> str:
    """The model card as Markdown."""
    paper = model.paper
    known = ", ".join(f.name for f in dataset.factors) or "none"
    terms = log[0]["terms"][options["seeds"].index(seed)] if log else {}
    confusion = f"\nNot to be confused with {paper.not_to_confuse}.\n" if paper.not_to_confuse else ""
    mig = f""" MIG is Chen et al.'s with
20 bins on {MEASURED:,} training images, continuous factors cut into 20 bins.""" if "mig" in figures else ""
    groups = model.asks
    granted = f" and that each {groups} {model.supposes}," if model.supposes else ""
    taught = f"with weak labels, which pictures are alike in '{groups}',{granted}" if groups else "without labels"
    kind = "a weakly supervised" if groups else "an unsupervised"
    told, source = dataset.alike(groups), dataset.origin
    unseen = "2 % of the images were never trained on; the reconstruction figure is theirs."
    if told is not dataset:
        source, unseen = f"{source} Trained on {told.origin}", "None of the images it is measured on was trained on."
    named = groups in {f.name for f in dataset.factors}
    use = f"for measuring only but for {groups}" if named else "for measuring only"
    rows = "\n".join(f"| {name} | {value:g} |" for name, value in figures.items())
    return f"""# {model.name} on {dataset.name}, seed {seed}

{paper.authors}, "{paper.title}", {paper.year}, {paper.link}
{confusion}
Trained {taught} by

    {command}

on {machine}, torch {torch.__version__}, {options['steps']:,} steps of {options['batch']} images
(this folder is `seed{seed}` of that run). Parameters: {sum(p.numel() for p in model.parameters()):,}.

**Data.** {source} Known factors, used {use}: {known}.
{unseen}

| figure | value |
|---|---|
{rows}

PSNR is of decode(encode(x)), mean over up to 2,000 held-out images.{mig}
Last log row: {', '.join(f'{k} {v:.4g}' for k, v in terms.items())}.

**Use.** For exploring what {kind} model finds. It knows nothing but the pictures above;
anything else is answered with the nearest thing it knows.
"""
