"""The model behind ``surrogate``: closed forms, slow references, and what it makes of stopped candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_ray.search import Constraint, Objective, Priced, hypervolume, make_price, make_searcher, non_dominated
from nas_ray.search._encoding import make_encoding
from nas_ray.search._surrogate import SurrogateSearcher, _held, _milestone
from nas_ray.search._surrogate_features import Features
from nas_ray.search._surrogate_front import expected_gain, front_levels
from nas_ray.search._surrogate_model import Kernels, Posterior, Weights, likeliest
from tests.search.problems import OBJECTIVES, QUICKSTART, RULED, SMALL, costs, loss, measured

PRICE = make_price(QUICKSTART, OBJECTIVES, [], costs)
POINTS = st.lists(st.tuples(*[st.floats(0, 1, width=16)] * 2), min_size=1, max_size=12)


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.05, 2))
def test_expected_gain_is_its_integral(level: float, mean: float, deviation: float) -> None:
    values = mean + deviation * np.linspace(-8, 8, 4001)
    density = np.exp(-0.5 * ((values - mean) / deviation) ** 2) / (deviation * np.sqrt(2 * np.pi))
    slow = float((np.maximum(level - values, 0) * density).sum() * (values[1] - values[0]))
    assert float(expected_gain(*map(np.float64, (level, mean, deviation)))) == pytest.approx(slow, abs=1e-5)


@given(POINTS, st.tuples(st.floats(0, 1), st.floats(0, 1.2)))
def test_the_gain_of_a_sure_value_is_the_hypervolume_it_adds(front: list[Any], point: tuple[float, float]) -> None:
    values, reference = np.array(front), np.array([1.1, 1.1])
    levels = front_levels(values, 0, reference)
    found = levels.improvement(np.array([point[0]]), np.array([1e-9]), np.array([[point[1]]]))
    added = hypervolume(np.array([*front, point]), reference) - hypervolume(values, reference)
    assert found[0] == pytest.approx(added, abs=1e-7)


def test_with_three_objectives_the_gain_orders_as_the_hypervolume_does() -> None:
    rng, reference = np.random.default_rng(0), np.full(3, 1.1)
    values, points = rng.random((8, 3)), rng.random((40, 3))
    levels = front_levels(values, 0, reference)
    found = levels.improvement(points[:, 0], np.full(40, 1e-9), points[:, 1:])
    before = hypervolume(values, reference)
    added = [hypervolume(np.vstack((values, point)), reference) - before for point in points]
    assert np.corrcoef(found, added)[0, 1] > 0.97


def kernels_and_values(count: int, seed: int = 0) -> tuple[Features, Kernels, Any, list[Any]]:
    rng = np.random.default_rng(seed)
    drawn = [PRICE(QUICKSTART.sample(rng)) for _ in range(count)]
    features = Features(make_encoding(QUICKSTART), drawn)
    kernels = Kernels(features.parts)
    kernels.grow(features.rows(drawn))
    return features, kernels, np.array([[loss(p.architecture)] for p in drawn]), drawn


def test_grown_row_by_row_the_kernel_is_the_same() -> None:
    features, kernels, _, drawn = kernels_and_values(20)
    rows, grown = features.rows(drawn), Kernels(features.parts)
    for count in (1, 2, 7, 20):
        grown.grow(rows[:count])
    weights = Weights((1.0, 0.5, 0.2, 1.0), 0.01)
    gram = grown.gram(weights, 20)
    assert np.allclose(gram, kernels.gram(weights, 20), atol=1e-12)
    assert np.allclose(np.diag(gram), kernels.variance(weights))
    assert np.linalg.eigvalsh(gram).min() > -1e-9


def test_prediction_is_that_of_the_textbook() -> None:
    features, kernels, values, drawn = kernels_and_values(30)
    weights, stopped = Weights((1.0, 0.2, 0.1, 1.0), 0.03), np.zeros(30, dtype=bool)
    rows = features.rows(drawn[:5])
    means, deviations = Posterior(kernels, values, stopped, weights).predict(rows)
    gram = kernels.gram(weights, 30)
    inverse = np.linalg.inv(gram + (0.03 + 1e-6) * np.eye(30))
    scaled = (values - values.mean()) / values.std()
    assert np.allclose(means, values.mean() + values.std() * gram[:5] @ inverse @ scaled)
    variance = np.diag(gram[:5, :5] - gram[:5] @ inverse @ gram[:5].T)
    assert np.allclose(deviations[:, 0], np.sqrt(variance) * values.std())


def test_it_predicts_what_it_has_not_seen_and_knows_how_well() -> None:
    features, kernels, values, _ = kernels_and_values(100)
    stopped = np.zeros(100, dtype=bool)
    _, _, truth, others = kernels_and_values(200, seed=1)
    means, deviations = Posterior(kernels, values, stopped, likeliest(kernels, values, stopped)).predict(
        features.rows(others)
    )
    error = means[:, 0] - truth[:, 0]
    assert error.std() < 0.5 * truth.std()
    assert 0.4 < np.mean(np.abs(error) < deviations[:, 0]) < 0.95


def test_stopped_candidates_help_whatever_their_offset() -> None:
    features, kernels, values, _ = kernels_and_values(100)
    _, _, truth, others = kernels_and_values(200, seed=1)
    stopped, rows = np.arange(100) >= 30, features.rows(others)
    weights = Weights((1.0, 0.2, 0.1, 1.0), 0.003)
    few = Kernels(features.parts)
    few.grow(kernels._rows[:30])
    alone = Posterior(few, values[:30], stopped[:30], weights).predict(rows)[0]
    for offset in (0.0, 1.5 * values.std()):
        helped = Posterior(kernels, values + offset * stopped[:, None], stopped, weights).predict(rows)[0]
        assert np.abs(helped - truth).mean() < 0.8 * np.abs(alone - truth).mean()


def test_a_front_from_stopped_candidates_alone_is_searched_too() -> None:
    searcher = make_searcher("surrogate", SMALL, 2, 0, {"num_startup": 4})
    for index in range(20):
        architecture = searcher.propose(index)
        searcher.observe(architecture, measured(architecture), finished=False)
    assert SMALL.contains(searcher.propose(20))


def test_the_first_attempts_are_new_and_meet_the_constraints() -> None:
    price = make_price(QUICKSTART, OBJECTIVES, [Constraint("params", 2e6)], costs)
    searcher = make_searcher("surrogate", QUICKSTART, 2, 0, {"num_startup": 8}, price=price)
    rng, seen = np.random.default_rng(1), set()
    while len(seen) < 30:
        architecture = QUICKSTART.sample(rng)
        if price(architecture).violation == 0:
            seen.add(architecture.arch_id)
            searcher.observe(architecture, measured(architecture), finished=True)
    offered = [searcher.propose(30, attempt) for attempt in range(20)]
    assert len({a.arch_id for a in offered} - seen) == 20
    assert all(costs(architecture)["params"] <= 2e6 for architecture in offered)


def test_a_prior_that_is_right_is_worth_many_results() -> None:
    def found(prior: Any) -> float:
        price = make_price(QUICKSTART, OBJECTIVES, [], costs, prior)
        searcher = make_searcher("surrogate", QUICKSTART, 2, 0, {"num_startup": 8}, price=price)
        values = []
        for index in range(25):
            architecture = searcher.propose(index)
            values.append(measured(architecture))
            searcher.observe(architecture, values[-1], finished=True)
        return hypervolume(np.array(values), (4.0, 6e6)) / (4.0 * 6e6)

    assert found(lambda a: loss(a) ** 2) > found(None) + 0.02


def test_prices_name_what_must_be_measured_and_follow_an_embedding_rule() -> None:
    price = make_price(RULED, [Objective("params"), Objective("loss")], [Constraint("params", 1.0)], costs)
    found = price(RULED.sample(np.random.default_rng(0)))
    assert found.values == (costs(found.architecture)["params"], None)
    assert found.violation > 0
    assert RULED.with_rule(found.architecture, int(costs(found.architecture)["encoder_params"])) == found.architecture
    assert found == Priced(found.architecture, found.values, found.violation, None)


def test_many_results_keep_the_best_and_the_newest() -> None:
    from nas_ray.search._population import Member

    rng = np.random.default_rng(0)
    members: list[Any] = [Member(i, tuple(rng.random(2)), True) for i in range(1000)]  # type: ignore[type-var]
    held = _held(members)
    assert len(held) <= 640
    assert held[-40:] == members[-40:]
    values = np.array([member.values for member in members])
    assert {members[i].architecture for i in np.flatnonzero(non_dominated(values))} <= {m.architecture for m in held}
    assert _held(members[:700])[:576] == _held(members[:703])[:576]  # what can be used again stays
    assert [_milestone(n) for n in (2, 4, 5, 6, 400)] == [2, 4, 4, 6, 369]


def test_now_and_then_it_tries_what_it_knows_least_about() -> None:
    searcher = make_searcher("surrogate", QUICKSTART, 2, 0, price=PRICE)
    for index in range(40):
        architecture = searcher.propose(index)
        searcher.observe(architecture, measured(architecture), finished=True)
    assert isinstance(searcher, SurrogateSearcher)
    deviations = []
    for index in range(40, 64):  # each as if it were the next
        row = searcher._features.rows([PRICE(searcher.propose(index))])  # type: ignore[union-attr]
        deviations.append(float(searcher._model.predict(row)[1][0, 0]))
    assert np.mean(deviations[3::4]) > 1.1 * np.mean(np.delete(deviations, np.s_[3::4]))
