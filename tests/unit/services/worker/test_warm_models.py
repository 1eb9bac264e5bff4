"""The digests that an engine holds read as the models of the newest jobs."""

from imagineo.v1 import job_pb2, model_pb2

from services.worker.warm_models import WarmModels


def adapter(model_id, sha256):
    return job_pb2.Adapter(model_id=model_id, file=model_pb2.StoredFile(sha256=sha256))


def test_every_model_of_a_warm_file_is_named():
    models = WarmModels()
    models.note([adapter("model_b", "1"), adapter("model_a", "1"), adapter("model_c", "2")])
    assert models.among({"1", "unheard of"}) == ["model_a", "model_b"]


def test_a_model_that_was_given_another_file_counts_with_that():
    models = WarmModels()
    models.note([adapter("model_a", "1")])
    models.note([adapter("model_a", "2")])
    assert models.among({"1"}) == []
    assert models.among({"2"}) == ["model_a"]


def test_the_models_least_recently_asked_for_are_forgotten():
    models = WarmModels(max_count=2)
    for model_id in ("model_a", "model_b", "model_a", "model_c"):
        models.note([adapter(model_id, "1")])
    assert models.among({"1"}) == ["model_a", "model_c"]
