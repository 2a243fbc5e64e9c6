"""What was measured of models, as HTML: the figures of one, each with how it was computed, and a table of all."""

from html import escape

from app.session import data_title
from engine import Model

# By the name of a score: how it is written, its unit, and how `engine.evaluate` computes it, in plain words.
EXPLAINED = {
    "psnr held out": ("PSNR", " dB",
        "Up to 2,000 pictures that were never trained on are encoded and drawn again. The peak signal-to-noise ratio "
        "says how close the two are, in decibels; the mean is shown. Higher is closer, 3 dB more is half the squared "
        "error. It says nothing of the factors."),
    "MIG": ("MIG", "",
        "Mutual information gap (Chen et al., 2018). On 10,000 pictures every number of the code is cut into 20 bins. "
        "For each true factor: what the number that knows most of it knows, less what the second best knows, as a "
        "share of all there is to know. The mean over factors; 1 if each factor has one number of its own."),
    "DCI disentanglement": ("DCI", "",
        "Disentanglement of Eastwood and Williams (2018). Boosted trees learn each true factor from the code, on "
        "10,000 pictures. 1 if each number of the code matters to one factor only, 0 if to all alike; numbers that "
        "matter more weigh more."),
    "FactorVAE": ("FactorVAE", "",
        "Kim and Mnih (2018). 64 pictures share the value of one factor; the number of the code that varies least "
        "among them votes for it. The majority of 10,000 votes decides which number stands for which factor; shown is "
        "how often that is right in 5,000 more. Not a scale from 0 to 1: a code that is turned at random reaches 0.7."),
    "DCI completeness": ("DCI completeness", "",
        "The trees of DCI seen the other way: 1 if each true factor is told by one number of the code, 0 if by all "
        "alike."),
    "DCI informativeness": ("DCI informativeness", "",
        "How often the trees of DCI tell a factor's class rightly, on 5,000 pictures they have not seen."),
    "beta-VAE": ("beta-VAE", "",
        "Higgins et al. (2017). Pairs of pictures share one factor. A linear classifier names it from how much their "
        "codes differ; shown is how often it is right. Many entangled codes reach 1: not for ranking."),
    "SAP": ("SAP", "",
        "Kumar et al. (2018). A linear classifier predicts a factor from one number of the code alone. By how much the "
        "best number is right more often than the second best; the mean over factors."),
    "modularity": ("Modularity", "",
        "Ridgeway and Mozer (2018). How far what each number of the code knows is about one factor only; the mean over "
        "all numbers, of which one that knows nothing counts 0."),
    "IRS": ("IRS", "",
        "Suter et al. (2019). How little a number of the code strays, given one factor's value, whatever the others "
        "do; weighted by the numbers' ranges."),
    "MCC": ("MCC", "",
        "Each true factor is paired with one number of the code so that their correlations are largest together. The "
        "mean of them; a factor left without a number counts 0."),
    "Info modularity": ("InfoM", "",
        "Hsu et al. (2023). How far each active number of the code has information on one factor only, from an even "
        "spread (0) to all in one (1)."),
    "Info compactness": ("InfoC", "",
        "InfoM seen the other way: how far one number has all information on a factor."),
    "Info explicitness": ("InfoE", "",
        "How well a linear classifier tells each factor from the code, from chance (0) to surely (1)."),
    "one-sided": ("One-sided", " factors",
        "How many of the known factors one side carries alone: what a net reads of swapped pictures has a correlation "
        "of .9 or more with that side's giver, and of .1 or less with the other."),
    "mostly one-sided": ("Mostly one-sided", " factors",
        "How many of the known factors one side carries nearly alone: correlations of .8 and .25."),
}
BEGINNINGS = {  # of the scores of a model of content and style
    "read ": "How well a net trained on real pictures reads this factor of real, unseen pictures, to "
             "compare swapped ones with. A correlation, or a share of right classes.",
    "swap ": "Two pictures exchange content and style. The correlation of what a net reads of the result with the "
             "picture that gave the side named.",
    "probe ": "How well a net tells the factor from one half of the code alone, on unseen pictures (R²).",
    "leak ": "The smaller of what the two halves of the code tell of the factor (R²): 0 if only one knows it.",
    "near ": "The correlation of a picture's factor with the mean over the ten nearest in that half of the code.",
    "unseen pairs ": "A held-out picture is made from two that were trained on, of which one has its content and the "
                     "other its style, and compared with the real one: PSNR in decibels, the correlation of what a net "
                     "reads of it, or the share of classes that are read rightly.",
    "unseen pairs": "How many pictures were made so: held-out ones, each of them from one or several pairs of others "
                    "that were trained on.",
    "content kept": "How well the encoder finds the giver's content again in swapped pictures (R²).",
    "style kept": "How well the encoder finds the giver's style again in swapped pictures (R²).",
    "psnr ": "How close pictures are to what is drawn again of them, in decibels; higher is closer.",
}
COLUMNS = ("psnr held out", "MIG", "DCI disentanglement", "FactorVAE")  # of the table
FIRST = 4           # figures shown at once
DIGITS = {" dB": 1, " factors": 0, " pictures": 0}  # after the point, where not two


def explain(name: str) -> tuple[str, str, str]:
    """How a score is written, its unit, and how it was computed."""
    if name in EXPLAINED:
        return EXPLAINED[name]
    words = next((text for start, text in BEGINNINGS.items() if name.startswith(start)), "See engine.evaluate.")
    unit = " dB" if "psnr" in name else " pictures" if name == "unseen pairs" else ""
    return name[0].upper() + name[1:], unit, words


def figure(name: str, value: float) -> str:
    """A score in its digits and with its unit."""
    unit = explain(name)[1]
    return f"{value:.{DIGITS.get(unit, 2)}f}{unit}"


def facts(model: Model) -> str:
    """The scores of a model as HTML, the usual ones first; each opens to say how it was computed."""
    order = [name for name in EXPLAINED if name in model.scores]
    order += [name for name in model.scores if name not in EXPLAINED]
    if not order:
        return "<p>Its factors were not scored: <code>python -m engine.evaluate FOLDER</code> does that.</p>"
    rows = [
        f"<details><summary><span>{escape(explain(name)[0])}</span> <b>{figure(name, model.scores[name])}</b></summary>"
        f"<p>{escape(explain(name)[2])}</p></details>" for name in order]
    rest = f"<details class='rest'><summary>{len(rows) - FIRST} more</summary>{''.join(rows[FIRST:])}</details>"
    return "".join(rows[:FIRST]) + (rest if len(rows) > FIRST else "")


def table(models: list[Model]) -> str:
    """All models by their figures, as an HTML table; static/compare.js sorts it by the buttons in its head. What
    was not measured is left empty, and stands last whatever is sorted."""
    heads = [("Model", "", ""), ("Trained on", "", ""), *(explain(name) for name in COLUMNS),
             ("Factors shown", "", ""), ("Parameters", "", ""), ("On disk", "", "")]
    head = "".join(
        f'<th scope="col"><button type="button" data-column="{k}"{_title(words)}>{escape(title)}</button></th>'
        for k, (title, _, words) in enumerate(heads))
    body = "".join(_entry(model) for model in models)
    notes = "".join(f"<dt>{escape(title)}</dt><dd>{escape(words)}</dd>" for title, _, words in map(explain, COLUMNS))
    return (
        '<div class="scroll" role="region" aria-label="Figures of all models" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        f"<details class='how'><summary>How was each computed?</summary><dl>{notes}</dl></details>"
    )


def size(model: Model) -> str:
    """The bytes of a model's weights on disk, in megabytes."""
    return f"{model.size / 1e6:.1f} MB"


def parameters(model: Model) -> str:
    """How many numbers were trained, in millions."""
    return f"{model.parameters / 1e6:.1f} M" if model.parameters >= 1e6 else f"{model.parameters / 1e3:.0f} k"


def _entry(model: Model) -> str:
    scores = [(model.scores.get(name), figure(name, model.scores[name]) if name in model.scores else "")
              for name in COLUMNS]
    cells = [*scores, (len(model.sliders), str(len(model.sliders))), (model.parameters, parameters(model)),
             (model.size, size(model))]
    said = f'<td data-value="{escape(data_title(model))}">{escape(data_title(model))}</td>' + "".join(
        f'<td class="number" data-value="{"" if value is None else value}">{text or "–"}</td>' for value, text in cells)
    return (f'<tr><th scope="row" data-value="{escape(model.title)}">{escape(model.title)} '
            f'<small>{escape(model.name)}</small></th>{said}</tr>')


def _title(words: str) -> str:
    return f' title="{escape(words)}"' if words else ""
