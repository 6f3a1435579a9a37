import numpy as np
import pytest

from training.distillation.neurons import describe_neurons, select_neurons, unary_cost
from training.errors import SetInvalid

IDENTITY = np.array([True, True, True, False, False, False])


def test_balanced_accuracy_by_hand() -> None:
    outputs = np.array([[0.1, 4.0], [0.2, 3.0], [0.8, 2.0], [0.9, 1.0], [0.3, 9.0]])
    attributes = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [-1, -1]])
    found = describe_neurons(outputs, attributes)
    # neuron 0 separates attribute 0; at attribute 1 its best cut finds one of two and rejects both or the like: 3/4
    # neuron 1 separates attribute 0 downwards
    np.testing.assert_allclose(found, [[1.0, 0.75], [1.0, 0.75]])
    with pytest.raises(SetInvalid, match="number 1"):
        describe_neurons(outputs, np.array([[0, 1], [1, 1], [0, 1], [1, 1], [1, 1]]))


def test_balanced_accuracy_against_every_cut() -> None:
    rng = np.random.default_rng(0)
    outputs, attributes = rng.normal(size=(60, 3)), rng.integers(0, 2, (60, 2))
    found = describe_neurons(outputs, attributes)
    for n in range(3):
        for a in range(2):
            truth, best = attributes[:, a] == 1, 0.0
            for cut in outputs[:, n]:
                for called in (outputs[:, n] > cut, outputs[:, n] <= cut):
                    best = max(best, (called[truth].mean() + (~called[~truth]).mean()) / 2)
            assert found[n, a] == pytest.approx(best)


def test_a_neuron_that_says_the_same_of_everybody_tells_nothing() -> None:
    """In whatever order the faces stand; where some are told alike, no cut lies between those."""
    attributes = np.array([[1], [1], [0], [0]])
    outputs = np.array([[0.0, 2.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    np.testing.assert_allclose(describe_neurons(outputs, attributes), [[0.5], [0.75]])


def test_the_unary_cost_by_hand() -> None:
    described = np.array([[0.9, 0.6, 0.6, 0.6, 0.5, 0.55]])
    assert unary_cost(described, IDENTITY)[0] == pytest.approx((0.6 - 0.55) / (0.9 - 0.7))


def test_identity_neurons_are_preferred_to_nuisance_neurons() -> None:
    rng = np.random.default_rng(1)
    described = 0.5 + 0.05 * rng.random((20, 6))
    for i in range(10):
        described[i, i % 3] = 0.9  # tells who it is
        described[10 + i, 3 + i % 3] = 0.9  # tells the expression
    found = select_neurons(described, IDENTITY)
    assert set(found.neurons) <= set(range(10))
    assert found.marginals[:10].min() > found.marginals[10:].max()
    assert select_neurons(described, IDENTITY, 6).neurons == tuple(sorted(np.argsort(-found.marginals)[:6].tolist()))


def test_of_neurons_that_say_the_same_fewer_are_wanted() -> None:
    """Six copies of one neuron and one that differs, all equally telling: the one that differs comes first."""
    attributes = np.array([True] * 20 + [False] * 20)
    same = np.full(40, 0.5)
    same[0], same[20] = 0.95, 0.6
    other = np.full(40, 0.5)
    other[10], other[30] = 0.95, 0.6
    described = np.stack([same] * 6 + [other])
    np.testing.assert_allclose(np.ptp(unary_cost(described, attributes)), 0, atol=1e-12)
    found = select_neurons(described, attributes, balance=0.5)
    assert found.marginals[6] > found.marginals[:6].max()


def test_the_marginals_are_a_fixed_point() -> None:
    rng = np.random.default_rng(2)
    described = 0.5 + 0.4 * rng.random((30, 6))
    found = select_neurons(described, IDENTITY, balance=0.02, reward=1.0)
    distance = np.square(described[:, None] - described[None]).sum(2)
    psi = np.exp(-distance / 2) - np.eye(30)
    field = found.cost - 1.0 + 2 * 0.02 * psi @ found.marginals
    np.testing.assert_allclose(found.marginals, 1 / (1 + np.exp(field)), atol=1e-6)
