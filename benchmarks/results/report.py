"""The page: everything in it comes from the stored results, the list of cells and the published numbers."""

from collections.abc import Callable, Iterable, Sequence
from statistics import mean, stdev

from benchmarks.results.cells import DATA, FEW, SEEDS, Cell
from benchmarks.results.floors import CODES
from benchmarks.results.published import NOTES, PUBLISHED
from benchmarks.results.store import same_options

# What a column is called, and the score of engine.evaluate in it.
COLUMNS = {
    "FactorVAE": "FactorVAE", "MIG": "MIG",
    "DCI D": "DCI disentanglement", "DCI C": "DCI completeness", "DCI I": "DCI informativeness",
    "SAP": "SAP", "modularity": "modularity", "IRS": "IRS", "MCC": "MCC",
    "Info M": "Info modularity", "Info C": "Info compactness", "Info E": "Info explicitness",
    "PSNR": "psnr held out", "factors": "factors",
}
ABLATED = ("MIG", "DCI D", "FactorVAE")
NONE = "–"
NOT_RUN = "- {cell.label}: not run; `python -m benchmarks.results --only {cell.name}`"

Entries = dict[str, dict]  # seed -> stored entry

HEAD = """# Results

Written by `python -m benchmarks.results` from `results.json`; not to be edited by hand.

Every row is one method with fixed options, trained without labels for {seeds} seeds, diffusion for {few}; the
commands stand at the end. With `--starts` every seed begins from several initialisations and goes on with the one whose
training objective is lowest after a few thousand steps, whatever the method. Figures are mean ± standard
deviation over the seeds (n - 1 in the denominator), the best mean of a column in bold; one seed alone has no
deviation. Labels are used for scoring only. Scores follow disentanglement_lib (10,000 training and 5,000 test
samples, DCI by gradient-boosted trees), Info M, C, E are InfoMEC's modularity, compactness and explicitness, and
PSNR is of held-out images in dB. A continuous factor is cut into ten classes. `factors` are the latents that
visibly change the picture, an outcome of the training; n counts the trained seeds and, in brackets, those among
them that have all scores: the others have the MIG and PSNR that the export measures, of 10,000 training images.
FactorVAE's score needs a grid of factors and is left out where there is none. Higher is better everywhere but in
`factors`, and no score is a scale from 0 to 1: read it beside the floors below it.
"""
CHOICE = """**One seed of each method.** By UDR: the seed whose axes agree best with those of the other seeds
(Spearman, on 2,000 held-out images). By loss: the lowest training objective over the last 200 steps. Neither
uses labels. By labels: the highest MIG, which is what choosing the best run after scoring amounts to; no
method finds it by itself.
"""
FLOORS = """**Floors.** The same scores of codes made from the true factors, no image or model involved;
mean ± standard deviation over draws where the code is random.
"""
OTHERS = """**Published, not comparable.** What others printed for the data set of this name. Their nets, budgets,
sample sizes and regressors differ from ours and from each other's, and our images are re-rendered look-alikes
of the official ones. DCI D is what a source calls DCI.
"""
ABLATION = """Differences to the full method on the same data set: mean ± standard deviation over seeds of
(ablation - full method), paired by seed. Above zero, the ablation is better. Both were run with the options
at the end of this page.
"""


def report(results: dict, cells: Sequence[Cell]) -> str:
    """The page in Markdown, the same for the same arguments byte for byte."""
    parts = [HEAD.format(seeds=len(SEEDS), few=len(FEW))]
    for data, (title, *_) in DATA.items():
        rows = [cell for cell in cells if cell.data == data and not cell.full]
        if rows:
            parts += [f"## {title}\n", *section(results, rows, data)]
    ablations = [cell for cell in cells if cell.full]
    if ablations:
        whole = dict.fromkeys(full(cells, cell).label for cell in ablations if not full(cells, cell).full)
        parts += ["## Ablations of " + ", ".join(whole) + "\n",
                  ABLATION, *ablation_tables(results, cells, ablations)]
    return "\n".join([*parts, *commands(results, cells)])


def section(results: dict, rows: Sequence[Cell], data: str) -> list[str]:
    """The tables of one data set."""
    run = [cell for cell in rows if entries(results, cell)]
    tables = []
    if run:
        used = columns([e for cell in run for e in entries(results, cell).values()], scores_of)
        means = [[value(entries(results, cell).values(), c, scores_of) for c in used] for cell in run]
        lines = [[cell.label, *line, counted(entries(results, cell))]
                 for cell, line in zip(run, bold(means, used), strict=True)]
        tables += [table(["method", *used, "n"], lines), *remarks(results, run)]
    tables += not_run(results, rows)
    picks = [line for cell in run for line in choices(entries(results, cell), cell.label, used)]
    if picks:
        tables += [CHOICE, table(["method", "seed chosen by", "seed", *used], picks)]
    codes = results["floors"].get(data, {})
    if codes:
        known = columns([s for draws in codes.values() for s in draws.values()], lambda scores: scores)
        lines = [[label, *(text(*value(codes[code].values(), c, lambda scores: scores)) for c in known)]
                 for code, (label, *_) in CODES.items() if code in codes]
        tables += [FLOORS, table(["code", *known], lines)]
    missing = [code for code in CODES if code not in codes]
    if missing:
        tables.append(f"Floors not run: {', '.join(missing)}: `python -m benchmarks.results --only 'floor-*-{data}'`\n")
    return [*tables, *published(data)]


def published(data: str) -> list[str]:
    """What was printed elsewhere, each row with its source."""
    rows = PUBLISHED.get(data, ())
    if not rows:
        return []
    used = [c for c in COLUMNS if any(c in row.scores for row in rows)]
    lines = [[row.method, *(text(*row.scores.get(c, (None, None)), row.digits) for c in used), row.source]
             for row in rows]
    notes = [f"- {source}: {note}" for source, note in NOTES.items() if any(row.source == source for row in rows)]
    return [OTHERS, table(["method", *used, "source"], lines), "\n".join(notes) + "\n"]


def choices(by_seed: Entries, label: str, used: Sequence[str]) -> list[list[str]]:
    """One line for each way to choose one of several seeds."""
    if len(by_seed) < 2:
        return []
    # A UDR is among seeds that were trained together, at one time.
    together = len({(entry["command"], entry.get("begun")) for entry in by_seed.values()}) == 1
    ways: dict[str, Callable[[dict], float | None]] = {
        "UDR": lambda entry: entry["udr"] if together else None,
        "loss": lambda entry: None if entry["final loss"] is None else -entry["final loss"],
        "labels": lambda entry: scores_of(entry).get("MIG"),
    }
    lines = []
    for way, worth in ways.items():
        worths = {seed: worth(entry) for seed, entry in by_seed.items()}
        if None not in worths.values():
            seed = max(worths, key=lambda s: (worths[s], -int(s)))
            figures = [text(*value([by_seed[seed]], c, scores_of)) for c in used]
            lines.append([label, way, seed, *figures])
    return lines


def ablation_tables(results: dict, cells: Sequence[Cell], ablations: Sequence[Cell]) -> list[str]:
    """For each full method and data set, the change that each ablation makes."""
    tables = []
    for whole in dict.fromkeys(full(cells, cell) for cell in ablations):
        own = [cell for cell in ablations if cell.full == whole.name]
        base = current(results, whole)
        tables.append(f"### {whole.label} on {DATA[whole.data][0]}\n")
        if base:
            absolute = [text(*value(base.values(), c, scores_of)) for c in ABLATED]
            lines = [[f"{whole.label}, full", *absolute, counted(base)]]
            for cell in own:
                found = current(results, cell)
                both = [seed for seed in base if seed in found]
                if both:
                    changes = [text(*spread([
                        scores_of(found[s])[COLUMNS[c]] - scores_of(base[s])[COLUMNS[c]] for s in both
                        if COLUMNS[c] in scores_of(base[s]).keys() & scores_of(found[s]).keys()
                    ]), sign="+") for c in ABLATED]
                    lines.append([cell.label, *changes, counted({seed: found[seed] for seed in both})])
            tables.append(table(["", *ABLATED, "n"], lines))
        ran = [cell for cell in own if current(results, cell)]
        tables += [*remarks(results, ran), *not_run(results, ran)]
        again = [cell for cell in own if not current(results, cell)]
        again = again if base else [whole, *again]
        tables += ["\n".join(NOT_RUN.format(cell=cell) for cell in again) + "\n"] if again else []
    return tables


def not_run(results: dict, cells: Sequence[Cell]) -> list[str]:
    """What is missing, with the command that fills it in."""
    lines = []
    for cell in cells:
        count = sum(entry["scored"] for entry in entries(results, cell).values())
        if count < len(cell.seeds):
            lines.append(NOT_RUN.format(cell=cell) if not entries(results, cell) else
                         f"- {cell.label}: {count} of {len(cell.seeds)} seeds scored; "
                         f"`python -m benchmarks.results --only {cell.name}`")
    return ["\n".join(lines) + "\n"] if lines else []


def remarks(results: dict, cells: Sequence[Cell]) -> list[str]:
    """Rows whose numbers need a word: made by other options than the list has now, or UDR without a KL."""
    lines = []
    for cell in cells:
        found = entries(results, cell).values()
        if any(not same_options(entry["command"], cell.command(SEEDS)) for entry in found):
            lines.append(f"- {cell.label} was run with other options than its command has by now; "
                         "the command that made it is below.")
        discrete = [entry for entry in found if entry["informative by"] not in ("KL", None)]
        if discrete:
            lines.append(f"- {cell.label} has no posterior over its code: for UDR, a latent counts as informative if "
                         "its range exceeds a twentieth of the largest.")
        if any(entry["scored"] and COLUMNS["Info E"] not in entry["scores"] for entry in discrete):
            lines.append(f"- {cell.label} was scored before InfoMEC knew discrete latents, and is left out of it.")
    return ["\n".join(lines) + "\n"] if lines else []


def commands(results: dict, cells: Sequence[Cell]) -> list[str]:
    """What made every row."""
    lines = []
    for cell in cells:
        for command in dict.fromkeys(e["command"] for e in entries(results, cell).values()):
            made = [e for e in entries(results, cell).values() if e["command"] == command]
            where = ", ".join(dict.fromkeys(f"{e['machine']}, torch {e['torch']}" for e in made))
            size = f"{made[0]['steps']:,} steps of {made[0]['batch']} images"
            lines.append(f"- {cell.label} on {cell.data} ({size}; {where}): `{command}`")
    return ["## Commands\n", "\n".join(lines) + "\n"] if lines else []


# --- numbers and tables

def entries(results: dict, cell: Cell) -> Entries:
    """The stored entries of a cell, in the order of the seeds."""
    return dict(sorted(results["cells"].get(cell.name, {}).items(), key=lambda item: int(item[0])))


def current(results: dict, cell: Cell) -> Entries:
    """The stored entries of a cell if it was run with the options it has now: only such are compared one to one."""
    found = entries(results, cell)
    return found if all(same_options(e["command"], cell.command(SEEDS)) for e in found.values()) else {}


def full(cells: Sequence[Cell], ablation: Cell) -> Cell:
    return next(cell for cell in cells if cell.name == ablation.full)


def scores_of(entry: dict) -> dict[str, float]:
    return entry["scores"] | {"factors": entry["factors"]}


def counted(by_seed: Entries) -> str:
    """How many seeds were trained and, if not all were scored, how many were."""
    scored = sum(entry["scored"] for entry in by_seed.values())
    return f"{len(by_seed)}" if scored == len(by_seed) else f"{len(by_seed)} ({scored})"


def columns(entries: Sequence[dict], scores: Callable[[dict], dict]) -> list[str]:
    """The columns for which there is at least one number."""
    return [c for c, name in COLUMNS.items() if any(name in scores(entry) for entry in entries)]


def value(entries: Iterable[dict], column: str, scores: Callable[[dict], dict]) -> tuple[float | None, float | None]:
    """Mean and standard deviation of a column over entries."""
    return spread([scores(entry)[COLUMNS[column]] for entry in entries if COLUMNS[column] in scores(entry)])


def spread(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation; None where there are too few values."""
    return mean(values) if values else None, stdev(values) if len(values) > 1 else None


def text(centre: float | None, deviation: float | None, digits: int = 2, sign: str = "") -> str:
    """A mean and its deviation as the table shows them."""
    if centre is None:
        return NONE
    shown = f"{round(centre, digits) + 0.0:{sign}.{digits}f}"  # no minus before zero
    return shown if deviation is None else f"{shown} ± {deviation:.{digits}f}"


def bold(rows: Sequence[Sequence[tuple[float | None, float | None]]], columns: Sequence[str]) -> list[list[str]]:
    """Rows of (mean, deviation) as text, the best mean of each score in bold, if there is a choice."""
    best = [max((m for m, _ in values if m is not None), default=None) if name != "factors" else None
            for name, values in zip(columns, zip(*rows, strict=True), strict=True)]
    return [
        [f"**{text(m, s)}**" if m is not None and m == top and len(rows) > 1 else text(m, s)
         for (m, s), top in zip(row, best, strict=True)]
        for row in rows
    ]


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines]) + "\n"
