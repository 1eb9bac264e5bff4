"""The field table of POST /v1/generate: what is taken, and what is said of the rest."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo import errors
from imagineo.egress.urls import Reach
from openapi_schema_validator import OAS31Validator

from services.gateway.schemas import SCHEMAS
from services.gateway.submission import FIELDS, ExtraLora, read_submission

GOOD = {"positive_prompt": "a mug", "model_id": "model_1"}
SIDE = "a multiple of 8 between 64 and the base model's maximum"


def body(**fields):
    return json.dumps(GOOD | fields).encode()


def raw(field, literal):
    return b'{"positive_prompt": "a mug", "model_id": "model_1", "%s": %s}' % (field.encode(), literal.encode())


def test_the_reference_example_is_taken():
    wanted = read_submission(
        b'{"positive_prompt": "A blue ceramic coffee mug on a wooden table", "negative_prompt": "blurry, low quality",'
        b'"model_id": "your-model-id", "lora_weight": 0.8, "guidance": 7.5, "width": 1024, "height": 1024}'
    )
    assert (wanted.lora_weight, wanted.guidance, wanted.width, wanted.height) == (0.8, 7.5, 1024, 1024)
    assert wanted.seed is None


def test_every_field_is_taken():
    wanted = read_submission(
        body(loras=[{"model_id": "model_2"}], seed=2**53 - 1, steps=30.0, output_format="webp", metadata={"a": "b"})
    )
    assert wanted.loras == (ExtraLora("model_2", 1.0),)
    assert wanted.steps == 30
    assert type(wanted.steps) is int
    assert wanted.metadata == {"a": "b"}


@pytest.mark.parametrize(
    ("field", "literal", "allowed"),
    [
        ("guidance", "0.99", "between 1 and 20"),
        ("guidance", "20.5", "between 1 and 20"),
        ("guidance", '"7"', "a number between 1 and 20"),
        ("guidance", "true", "a number between 1 and 20"),
        ("guidance", "null", "a number between 1 and 20"),
        ("guidance", "NaN", "between 1 and 20"),
        ("guidance", "Infinity", "between 1 and 20"),
        ("guidance", "1e400", "between 1 and 20"),
        ("lora_weight", "-0.1", "between 0 and 2"),
        ("lora_weight", "2.1", "between 0 and 2"),
        ("lora_weight", "[]", "a number between 0 and 2"),
        ("width", "1023", SIDE),
        ("width", "56", SIDE),
        ("width", "0", SIDE),
        ("height", "-64", SIDE),
        ("width", "2147483648", SIDE),
        ("width", "512.5", SIDE),
        ("width", "1e400", SIDE),
        ("width", "true", SIDE),
        ("height", '"512"', SIDE),
        ("steps", "0", "between 1 and 100"),
        ("steps", "101", "between 1 and 100"),
        ("steps", "1.5", "a whole number between 1 and 100"),
        ("steps", "false", "a whole number between 1 and 100"),
        ("seed", "-1", "between 0 and 9007199254740991"),
        ("seed", "9007199254740992", "between 0 and 9007199254740991"),
        ("seed", "123456789012345678901234567890", "between 0 and 9007199254740991"),
        ("positive_prompt", '""', "a string of 1 to 2000 characters"),
        ("positive_prompt", "7", "a string of 1 to 2000 characters"),
        ("positive_prompt", json.dumps("x" * 2001), "a string of 1 to 2000 characters"),
        ("positive_prompt", '"\\u0000"', "valid text without control characters or lone surrogates"),
        ("positive_prompt", '"\\ud800"', "valid text without control characters or lone surrogates"),
        ("negative_prompt", json.dumps("x" * 2001), "a string of 0 to 2000 characters"),
        ("negative_prompt", "null", "a string of 0 to 2000 characters"),
        ("model_id", '""', "a string of 1 to 64 characters"),
        ("model_id", "1", "a string of 1 to 64 characters"),
        ("scheduler", "1", "a string of 1 to 64 characters"),
        ("output_format", '"gif"', "one of png, webp, jpeg"),
        ("output_format", '["png"]', "one of png, webp, jpeg"),
        ("loras", "{}", "a list of at most 5 objects {model_id, weight}"),
        ("loras", json.dumps([{"model_id": "m"}] * 6), "a list of at most 5 objects {model_id, weight}"),
    ],
)
def test_a_wrong_value_is_refused_naming_field_and_range(field, literal, allowed):
    with pytest.raises(errors.InvalidParameter) as refused:
        read_submission(raw(field, literal))
    assert refused.value.message == f"Invalid value for parameter '{field}'. Must be {allowed}."
    assert refused.value.metadata == {"param": field, "allowed": allowed}


@pytest.mark.parametrize(
    ("loras", "param"),
    [
        ([7], "loras[0]"),
        ([{"model_id": "a"}, {}], "loras[1].model_id"),
        ([{"model_id": "a", "weight": 3}], "loras[0].weight"),
    ],
)
def test_a_wrong_extra_lora_is_named_by_its_place(loras, param):
    with pytest.raises(errors.InvalidParameter) as refused:
        read_submission(body(loras=loras))
    assert refused.value.metadata["param"] == param


@pytest.mark.parametrize(
    "metadata",
    [[], {"": "a"}, {"a": 1}, {"a": "x" * 513}, {"n" * 65: "a"}, {str(n): "a" for n in range(17)}, {"a": "\x00"}],
)
def test_wrong_metadata_is_refused(metadata):
    with pytest.raises(errors.InvalidParameter) as refused:
        read_submission(body(metadata=metadata))
    assert refused.value.metadata["param"] == "metadata"
    assert "at most 16 strings" in refused.value.message


@pytest.mark.parametrize("field", ["positive_prompt", "model_id"])
def test_a_missing_field_is_named(field):
    with pytest.raises(errors.InvalidParameter, match=f"Missing parameter '{field}'") as refused:
        read_submission(json.dumps({name: value for name, value in GOOD.items() if name != field}).encode())
    assert refused.value.metadata["param"] == field


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("guidence", "Unknown parameter 'guidence'. Did you mean 'guidance'?"),
        ("callback", "Unknown parameter 'callback'."),
    ],
)
def test_an_unknown_field_is_refused_with_the_nearest_known(name, message):
    with pytest.raises(errors.UnknownField) as refused:
        read_submission(body(**{name: 1}))
    assert refused.value.message == message
    assert refused.value.metadata == {"param": name}


def test_an_unknown_field_of_an_extra_lora_is_refused():
    with pytest.raises(errors.UnknownField, match=r"loras\[0\]\.wight'. Did you mean 'weight'") as refused:
        read_submission(body(loras=[{"model_id": "a", "wight": 1}]))
    assert refused.value.metadata == {"param": "loras[0].wight"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "The body is empty"),
        (b" \n", "The body is empty"),
        (b"{", "not valid JSON"),
        (b"hello", "not valid JSON: Expecting value at line 1, column 1"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'{"a": 1} x', "not valid JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * 60_000, "nested too deep"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "too long"),
    ],
)
def test_what_is_not_a_json_object_is_refused(text, message):
    with pytest.raises(errors.InvalidJson, match=message):
        read_submission(text)


def test_the_last_of_repeated_names_counts():
    assert read_submission(raw("seed", '1, "seed": 2')).seed == 2


@given(
    st.dictionaries(
        st.sampled_from([*FIELDS, "other"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-10, 3000),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(max_size=5),
            st.lists(st.dictionaries(st.sampled_from(["model_id", "weight"]), st.integers(0, 3)), max_size=2),
        ),
    )
)
def test_what_is_taken_fits_the_published_schema(fields):
    document = GOOD | fields
    try:
        read_submission(json.dumps(document).encode())
    except errors.Refused:
        return
    assert OAS31Validator(SCHEMAS["Submission"]).is_valid(document)


@pytest.mark.parametrize(
    "url", ["http://a.example/", "https://127.0.0.1/", "https://0x7f.1/", "ftp://a.example", "", 7]
)
def test_a_webhook_url_that_is_not_a_public_https_one_is_refused(url):
    with pytest.raises(errors.InvalidParameter) as refused:
        read_submission(body(webhook_url=url))
    assert refused.value.metadata["param"] == "webhook_url"


def test_a_webhook_url_is_kept_as_it_was_written():
    url = "https://Hooks.example.com:8443/a%20b?key=1"
    assert read_submission(body(webhook_url=url)).webhook_url == url


def test_this_machine_is_a_receiver_where_the_setting_says_so():
    url = "http://127.0.0.1:9/x"
    assert read_submission(body(webhook_url=url), Reach(allow_loopback=True)).webhook_url == url
    with pytest.raises(errors.InvalidParameter):
        read_submission(body(webhook_url="http://10.0.0.1/x"), Reach(allow_loopback=True))
