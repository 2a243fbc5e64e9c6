import math
from statistics import median

import pytest
import torch
from torch import nn

from engine import gaussian
from engine.method import Slot
from engine.methods.protovae import Config, PairEmbedder, ProtoVAE, interventions, prototype_loss, shift_pairs
from tests.tiny import gradients, noise, seeded

DIMS, SHOTS, QUERIES = 4, 3, 2
PAIRS = SHOTS + QUERIES
FROM, FULL = 100, 200  # steps between which the prototypes' weight ramps up


def fresh(active=(1, 1, 1, 1), channels=1, **options):
    """A small model whose latents all change the picture, with the given active set."""
    defaults = {
        "latents": DIMS, "encoder_width": 4, "decoder_width": 4, "shots": SHOTS, "queries": QUERIES,
        "embedder_from": 50, "prototypes_from": FROM, "prototypes_full": FULL,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ProtoVAE(Config(**defaults | options), channels)
    with torch.no_grad():
        for name, parameter in model.decoder.named_parameters():
            parameter.mul_(3 if name.endswith("weight") else 0)
        model.active.copy_(torch.tensor(active))
        model.kl.copy_(model.active)  # far from either threshold, so that one step changes nothing
    return model


def images(channels=1):
    return noise(8, channels).float() / 255


# --- interventions

def test_an_intervention_moves_one_dimension_and_rows_are_grouped_by_it():
    z = torch.randn(32, DIMS, generator=seeded())
    before, after = interventions(z, z, 6, 0.5, seeded(1))
    assert before.shape == after.shape == (DIMS * 6, DIMS)
    expected = torch.arange(DIMS).repeat_interleave(6)
    changed = before != after
    assert torch.equal(changed.sum(1), torch.ones(DIMS * 6, dtype=torch.int64))
    assert torch.equal(changed.int().argmax(1), expected)
    assert (after - before).abs().sum(1).min() > 0.5 - 1e-5


def test_the_new_value_is_one_the_dimension_has_in_the_batch():
    z = torch.randn(32, DIMS, generator=seeded())
    before, after = interventions(z, z, 50, 0.5, seeded(1))
    assert all((z == row).all(1).any() for row in before)
    dimension = torch.arange(DIMS).repeat_interleave(50)
    value = after[torch.arange(len(after)), dimension]
    step = value - before[torch.arange(len(after)), dimension]
    nearest = (value[:, None] - z.T[dimension]).abs().amin(1)
    far = step.abs() > 0.5 + 1e-5
    assert far.float().mean() > 0.4 and nearest[far].max() < 1e-6
    torch.testing.assert_close(step[~far].abs(), torch.full_like(step[~far], 0.5))


def test_the_new_value_may_come_from_elsewhere():
    z, values = torch.zeros(32, DIMS), torch.full((32, DIMS), 7.0)
    before, after = interventions(z, values, 5, 0.5, seeded())
    assert not before.any() and after.sum(1).tolist() == [7] * len(after)


@pytest.mark.parametrize("source", ["prior", "posterior"])
def test_prior_interventions_reach_beyond_the_batch(source):
    model, z = fresh(interventions=source, shift=0, noise=0.0, gap=0.0), 0.01 * torch.randn(8, DIMS, generator=seeded())
    model.embedder = Recorder()
    model.episode(z, torch.tensor(1.0), seeded(1))
    before, after = model.embedder.seen
    moved = (after - before).abs().amax()
    assert (moved > 0.05) == (source == "prior")


def test_every_pair_has_a_base_of_its_own():
    z = torch.randn(500, DIMS, generator=seeded())
    before, _ = interventions(z, z, 5, 0.5, seeded(1))
    assert len(before.unique(dim=0)) >= DIMS * 5 - 2


def test_close_values_are_pushed_apart_in_their_direction():
    z = torch.tensor([[0.0], [0.1]])
    before, after = interventions(z, z, 200, 0.5, seeded())
    moves = {(round(a, 3), round(b, 3)) for a, b in zip(before[:, 0].tolist(), after[:, 0].tolist(), strict=True)}
    assert moves == {(0.0, 0.5), (0.1, -0.4), (0.1, 0.6)}  # an image that drew itself moves up


def test_interventions_draw_from_their_generator_only():
    z = torch.randn(32, DIMS, generator=seeded())
    first, same, other = (interventions(z, z, 5, 0.5, seeded(s))[1] for s in (1, 1, 2))
    assert torch.equal(first, same) and not torch.equal(first, other)


# --- the prototype loss

def by_loops(embedded, shots, active):
    """Loss and accuracies of an episode, one distance at a time."""
    losses, accuracies = [], []
    for k, rows in enumerate(embedded):
        if not active[k]:
            accuracies.append(0.0)
            continue
        right = 0
        for query in rows[shots:]:
            distances = {j: ((query - embedded[j][:shots].mean(0)) ** 2).sum().item()
                         for j in range(len(embedded)) if active[j]}
            losses.append(distances[k] + math.log(sum(math.exp(-d) for d in distances.values())))
            right += min(distances, key=distances.get) == k
        accuracies.append(right / len(rows[shots:]))
    return sum(losses) / max(len(losses), 1), accuracies


@pytest.mark.parametrize("active", [(1, 1, 1, 1), (1, 0, 1, 1), (0, 1, 0, 1), (0, 0, 1, 0), (0, 0, 0, 0)])
def test_the_prototype_loss_is_snells(active):
    embedded = torch.randn(DIMS, PAIRS, 3, generator=seeded()) + 0.7 * torch.arange(DIMS)[:, None, None]
    loss, accuracy = prototype_loss(embedded, SHOTS, torch.tensor(active).float())
    expected, accuracies = by_loops(embedded, SHOTS, active)
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)
    assert accuracy.tolist() == pytest.approx(accuracies)


def test_perfect_embeddings_cost_nothing():
    embedded = 10 * torch.eye(DIMS)[:, None].expand(-1, PAIRS, -1)
    loss, accuracy = prototype_loss(embedded, SHOTS, torch.ones(DIMS))
    assert loss < 1e-6 and accuracy.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("active", [(1, 1, 1, 1), (1, 0, 1, 1), (0, 1, 1, 0), (0, 0, 0, 1)])
def test_indistinguishable_dimensions_cost_the_log_of_their_number(active):
    loss, _ = prototype_loss(torch.zeros(DIMS, PAIRS, 3), SHOTS, torch.tensor(active).float())
    assert loss.item() == pytest.approx(math.log(sum(active)), abs=1e-6)


@pytest.mark.parametrize("active", [(0, 0, 0, 0), (0, 1, 0, 0), (1, 1, 0, 0)])
def test_inactive_dimensions_have_no_say_and_no_nan(active):
    embedded = torch.randn(DIMS, PAIRS, 3, generator=seeded()).requires_grad_()
    mask = torch.tensor(active).float()
    loss, accuracy = prototype_loss(embedded, SHOTS, mask)
    loss.backward()
    assert loss.isfinite() and accuracy.isfinite().all() and embedded.grad.isfinite().all()
    assert not embedded.grad[mask == 0].any()
    assert not accuracy[mask == 0].any()
    if sum(active) < 2:
        assert loss == 0 and not embedded.grad.any()
    else:
        assert embedded.grad[mask == 1].any()
    elsewhere = torch.where(mask[:, None, None] == 0, 1000 * embedded.detach(), embedded.detach())
    assert torch.equal(prototype_loss(elsewhere, SHOTS, mask)[0], loss)


# --- what the embedder gets to see

def ramps(versions=2, count=40):
    """Images whose two channels hold the row and the column of each pixel."""
    line = torch.arange(64.0)
    image = torch.stack([line[:, None].expand(64, 64), line.expand(64, 64)])
    return image.expand(versions, count, 2, 64, 64)


def test_pairs_shift_alike_by_whole_pixels_and_repeat_their_borders():
    shifted = shift_pairs(ramps(), 2, seeded())
    assert torch.equal(shifted[0], shifted[1])
    offsets = (shifted[0, :, :, 32, 32] - 32).int()  # (N, 2): down, right
    assert offsets.abs().max() == 2
    assert len(offsets.unique(dim=0)) > 10  # of 25: the axes and the images move independently
    line = torch.arange(64)
    for image, (down, right) in zip(shifted[0], offsets.tolist(), strict=True):
        assert torch.equal(image[0], (line + down).clamp(0, 63).float()[:, None].expand(64, 64))
        assert torch.equal(image[1], (line + right).clamp(0, 63).float().expand(64, 64))


def test_no_shift_is_no_change():
    pictures = torch.rand(2, 5, 3, 64, 64, generator=seeded())
    assert torch.equal(shift_pairs(pictures, 0, seeded()), pictures)


def test_shift_keeps_the_order_of_pairs_and_versions():
    pictures = torch.arange(10.0).reshape(2, 5, 1, 1, 1).expand(2, 5, 1, 64, 64)
    assert torch.equal(shift_pairs(pictures, 2, seeded()), pictures)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_embedder_tells_before_from_after(channels):
    embedder = PairEmbedder(channels, 7, "pair")
    before, after = torch.rand(2, 6, channels, 64, 64, generator=seeded())
    forth, back = embedder(before, after), embedder(after, before)
    assert forth.shape == (6, 7)
    assert not torch.allclose(forth, back)


@pytest.mark.parametrize("channels", [1, 3])
def test_seeing_changes_only_it_cannot_tell_before_from_after(channels):
    embedder = PairEmbedder(channels, 7, "change")
    before, after = torch.rand(2, 6, channels, 64, 64, generator=seeded())
    assert torch.equal(embedder(before, after), embedder(after, before))
    elsewhere = torch.rand(6, channels, 64, 64, generator=seeded(1))  # another base, the same change
    torch.testing.assert_close(embedder(elsewhere, elsewhere + (after - before).abs()), embedder(before, after))


@pytest.mark.parametrize("view", ["change", "pair"])
def test_the_embedder_keeps_no_statistics(view):
    embedder = PairEmbedder(1, 7, view)
    assert {name for name, _ in embedder.named_buffers()} == set()
    before, after = torch.rand(2, 6, 1, 64, 64, generator=seeded())
    assert torch.equal(embedder(before, after), embedder.eval()(before, after))


class Recorder(nn.Module):
    """Stands in for the embedder and keeps what it was shown."""

    def forward(self, before, after):
        self.seen = before.detach(), after.detach()
        return torch.zeros(len(before), 2)


def test_pairs_are_the_decoded_interventions_under_noise():
    model, z = fresh(shift=0, noise=0.05), torch.randn(8, DIMS, generator=seeded())
    model.embedder = Recorder()
    model.episode(z, torch.tensor(1.0), seeded(1))
    before, after = (model.decode(code) for code in interventions(z, z, PAIRS, model.config.gap, seeded(1)))
    first, second = model.embedder.seen[0] - before, model.embedder.seen[1] - after
    for grain in (first, second):
        assert abs(grain.mean()) < 0.001 and grain.std().item() == pytest.approx(0.05, rel=0.02)
    assert abs((first * second).mean()) < 0.02 * 0.05**2  # a grain of its own for each


def test_without_noise_and_shift_pairs_are_seen_as_decoded():
    model, z = fresh(shift=0, noise=0.0), torch.randn(8, DIMS, generator=seeded())
    model.accuracy.zero_()
    prototype, _ = model.episode(z, torch.tensor(1.0), seeded(1))
    before, after = (model.decode(code) for code in interventions(z, z, PAIRS, model.config.gap, seeded(1)))
    embedded = model.embedder(before, after).reshape(DIMS, PAIRS, -1)
    expected, accuracy = prototype_loss(embedded, SHOTS, model.active)
    torch.testing.assert_close(prototype, expected)
    assert accuracy.sum() > 0
    torch.testing.assert_close(model.accuracy, 0.01 * accuracy)


def test_pairs_shift_before_they_are_seen():
    model, z = fresh(shift=2, noise=0.0), torch.randn(8, DIMS, generator=seeded())
    model.embedder = Recorder()
    model.episode(z, torch.tensor(1.0), seeded(1))
    before, _ = (model.decode(code) for code in interventions(z, z, PAIRS, model.config.gap, seeded(1)))
    seen = model.embedder.seen[0]
    moves = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    inside = torch.stack([before.roll(m, dims=(2, 3))[..., 2:-2, 2:-2] for m in moves])
    found = (inside == seen[..., 2:-2, 2:-2]).flatten(2).all(2)  # (moves, pairs)
    assert found.any(0).all() and found.any(1).sum() > 5


# --- re-encoding

@pytest.mark.parametrize("active", [(1, 1, 1, 1), (0, 1, 0, 1), (0, 0, 0, 0)])
def test_reencoding_is_the_squared_error_over_active_dimensions(active):
    model, z = fresh(active), torch.randn(8, DIMS, generator=seeded())
    _, reencoding = model.episode(z, torch.tensor(0.3), seeded(1))
    _, after = interventions(z, z, PAIRS, model.config.gap, seeded(1))
    error = (model.encode(model.decode(after)) - after).detach() ** 2
    expected = sum(error[:, j].mean().item() for j in range(DIMS) if active[j])
    assert reencoding.item() == pytest.approx(expected, rel=1e-5)


# --- the active set

def test_dimensions_join_above_one_threshold_and_leave_below_a_lower_one():
    model = fresh(active_on=0.1, active_off=0.05)
    model.active.copy_(torch.tensor([0.0, 1, 0, 1]))
    kl = torch.tensor([0.2, 0.07, 0.07, 0.01])
    model.kl.copy_(kl)
    model.watch(kl)
    assert model.active.tolist() == [1, 1, 0, 0]


def test_without_the_mask_all_dimensions_take_part():
    model = fresh(active=(0, 1, 0, 1), mask=False)
    model.watch(torch.zeros(DIMS))
    assert model.active.tolist() == [1, 1, 1, 1]


def test_the_kl_is_followed_slowly():
    model = fresh()
    model.kl.fill_(1)
    model.watch(torch.tensor([1.0, 2.0, 0.0, 11.0]))
    assert model.kl.tolist() == pytest.approx([1, 1.01, 0.99, 1.1])


def test_every_stage_watches_the_kl_of_its_batch():
    for stage in (0, 1):
        model, x = fresh(), images()
        model.kl.zero_()
        model.loss(x, torch.tensor(0), seeded(), stage)
        torch.testing.assert_close(model.kl, 0.01 * gaussian.kl_to_prior(*model.posterior(x)))
        assert not model.kl.requires_grad


# --- the whole loss

def test_every_latent_is_a_factor_of_its_own():
    assert fresh().layout() == (Slot(0, 1), Slot(1, 2), Slot(2, 3), Slot(3, 4))


def test_the_code_is_the_posteriors_mean_and_decode_its_probabilities():
    model, x = fresh(), images()
    assert torch.equal(model.encode(x), model.encoder(x)[:, :DIMS])
    code = torch.randn(3, DIMS, generator=seeded())
    torch.testing.assert_close(model.decode(code), model.decoder(code).sigmoid())


def test_the_embedder_has_its_own_momentum():
    vae, embedder = fresh().groups()
    assert "betas" not in vae and embedder["betas"] == (0.5, 0.9)
    assert len(embedder["params"]) == len(list(fresh().embedder.parameters()))


@pytest.mark.parametrize("objective", ["beta", "tc"])
def test_the_first_stage_is_the_base_objective(objective):
    model, x = fresh(objective=objective, beta=6.0, relax_to=0.25, relax_during=(10, 20)), images()
    assert model.stages() == (50,)
    for step, weight in ((0, 1), (15, 0.5), (30, 0.25)):
        terms = model.loss(x, torch.tensor(step), seeded(), stage=0)
        mean, log_variance = model.posterior(x)
        z = gaussian.sample(mean, log_variance, seeded())
        expected = gaussian.evidence_bound(
            model.decoder(z), x, z, mean, log_variance, objective, 6.0, torch.tensor(weight)
        )
        assert terms.keys() == expected.keys()
        for name in terms:
            torch.testing.assert_close(terms[name], expected[name])
    assert all(g is None for g in gradients(terms["loss"], model.embedder).values())


@pytest.mark.parametrize(("step", "weight"), [(50, 0.0), (FROM, 0.0), (125, 0.25), (FULL, 1.0), (10**6, 1.0)])
def test_the_loss_is_the_documented_sum(step, weight):
    model, x = fresh(prototype_weight=3.0, reencoding_weight=0.7, beta=2.0), images()
    base = model.loss(x, torch.tensor(step), seeded(), stage=0)
    terms = model.loss(x, torch.tensor(step), seeded(), stage=1)
    assert set(terms) == {"loss", "reconstruction", "kl", "tc", "prototype", "reencoding"}
    assert terms["prototype"] > 0 and terms["reencoding"] > 0
    expected = base["loss"] + 3 * terms["prototype"] + weight * 0.7 * terms["reencoding"]
    torch.testing.assert_close(terms["loss"], expected)


def test_the_prototypes_may_start_without_a_ramp():
    model, x = fresh(prototypes_from=FROM, prototypes_full=FROM), images()
    for step in (FROM - 1, FROM, FROM + 1):
        assert model.loss(x, torch.tensor(step), seeded(), stage=1)["loss"].isfinite()


def test_prototypes_teach_the_decoder_by_the_ramp_and_never_the_encoder():
    model, x = fresh(), images()
    teach = {}
    for step, weight in ((FROM, 0.0), (150, 0.5), (FULL, 1.0)):
        prototype = model.loss(x, torch.tensor(step), seeded(), stage=1)["prototype"]
        assert all(g is None for g in gradients(prototype, model.encoder).values())
        teach[weight] = {part: gradients(prototype, getattr(model, part)) for part in ("decoder", "embedder")}
    full = teach[1.0]["decoder"]
    assert all(g.abs().sum() > 0 for g in full.values())
    for name, gradient in full.items():
        assert not teach[0.0]["decoder"][name].any()
        torch.testing.assert_close(teach[0.5]["decoder"][name], 0.5 * gradient)
    for name, gradient in teach[1.0]["embedder"].items():  # learns at full strength throughout
        torch.testing.assert_close(teach[0.0]["embedder"][name], gradient)


def test_reencoding_teaches_encoder_and_decoder():
    model, x = fresh(), images()
    reencoding = model.loss(x, torch.tensor(FROM), seeded(), stage=1)["reencoding"]
    for part in (model.encoder, model.decoder):
        assert sum(g.abs().sum() for g in gradients(reencoding, part).values()) > 0


def test_every_parameter_gets_a_gradient():
    model = fresh()
    model.loss(images(), torch.tensor(FULL), seeded(), stage=1)["loss"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        # The embedder's last bias moves queries and prototypes alike: no distance depends on it.
        assert parameter.grad.abs().sum() > 0 or name == "embedder.head.2.bias", name


@pytest.mark.parametrize("active", [(0, 0, 0, 0), (0, 0, 1, 0)])
def test_a_collapsed_model_trains_on(active):
    model, x = fresh(active), images()
    terms = model.loss(x, torch.tensor(FULL), seeded(), stage=1)
    assert model.active.tolist() == list(active)
    assert terms["prototype"] == 0 and terms["loss"].isfinite()
    terms["loss"].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert not any(p.grad.any() for p in model.embedder.parameters())


class Quarters(nn.Module):
    """A decoder whose four latents are the brightness of the image's four quarters."""

    def forward(self, code):
        return code.reshape(-1, 1, 2, 2).repeat_interleave(32, 2).repeat_interleave(32, 3)


def test_the_embedder_learns_to_name_the_dimensions():
    model, generator = fresh(), seeded()
    model.decoder = Quarters()
    z = torch.randn(64, DIMS, generator=generator)
    optimizer = torch.optim.Adam(model.embedder.parameters(), 1e-3, betas=(0.5, 0.9))
    losses = []
    for _ in range(60):
        prototype, _ = model.episode(z, torch.tensor(0.0), generator)
        optimizer.zero_grad()
        prototype.backward()
        optimizer.step()
        losses.append(prototype.item())
    assert losses[0] > 0.7 * math.log(DIMS)
    assert median(losses[-20:]) < 0.3 * math.log(DIMS)  # a hard episode now and then is no matter
