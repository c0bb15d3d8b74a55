from __future__ import annotations

import numpy as np

from gristmill.pipelines.report import embedding_map as module
from gristmill.pipelines.report.embedding_map import embedding_map, project
from gristmill.pipelines.report.gather import gather
from gristmill.pipelines.store.run_directory import RunDirectory


def test_projection_keeps_the_two_widest_directions() -> None:
    random = np.random.default_rng(0)
    wide = np.zeros((200, 10), np.float32)
    wide[:, 4], wide[:, 7] = random.normal(scale=9, size=200), random.normal(scale=3, size=200)
    plane, explained = project(wide + random.normal(scale=0.01, size=wide.shape).astype(np.float32))
    assert explained > 0.99
    assert abs(np.corrcoef(plane[:, 0], wide[:, 4])[0, 1]) > 0.99
    assert abs(np.corrcoef(plane[:, 1], wide[:, 7])[0, 1]) > 0.99
    assert plane.min() == 0.0
    assert plane.max() == 1.0


def test_projection_of_one_dimension_and_of_equal_points_is_finite() -> None:
    for vectors in (np.ones((5, 8), np.float32), np.arange(4, dtype=np.float32)[:, None]):
        plane, _ = project(vectors)
        assert plane.shape == (len(vectors), 2)
        assert np.isfinite(plane).all()


def test_points_carry_cluster_fate_and_text(built_run: RunDirectory) -> None:
    data = gather(built_run).rounds[0]
    found = embedding_map(data)
    step = data.step("unique")
    assert found is not None
    assert step is not None
    assert found.rows == len(found.points) == step.ledger.made
    assert found.clusters == 6
    assert found.fates == ["kept", "filtered by unique"]
    assert sum(point[3] == 1 for point in found.points) == step.ledger.filtered > 0
    assert "Write about" in found.points[0][4]


def test_many_rows_are_thinned(built_run: RunDirectory) -> None:
    data = gather(built_run).rounds[0]
    limit, module.POINTS = module.POINTS, 40
    try:
        found = embedding_map(data)
    finally:
        module.POINTS = limit
    assert found is not None
    assert 20 <= len(found.points) <= 40 < found.rows
