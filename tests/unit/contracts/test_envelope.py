"""Reading messages: both content modes in, everything else refused with a sentence that says what is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convive_contracts import (
    DIRECTORY_SOURCE,
    Malformed,
    Oversize,
    UnknownType,
    UserCreated,
    invitation_id,
    new_event,
    parse_event,
)
from convive_contracts.envelope import LARGEST_MESSAGE, STRUCTURED, rfc3339, structured
from tests.unit.contracts.making import CABINET, MEMBER, document, read, read_binary, user_data

# --- content modes -----------------------------------------------------------------------------------------------


def test_a_structured_event_is_read() -> None:
    event = read()

    assert (event.id, event.source, event.subject, event.short_type) == ("event-1", "/payroll", MEMBER, "user.created")
    assert event.time == datetime(2026, 3, 2, 9, 30, 0, 123000, tzinfo=UTC)
    assert event.data == UserCreated.model_validate(user_data())


@pytest.mark.parametrize("prefix", ["ce-", "cloudEvents:", "cloudEvents_", "CE-", "Ce-"])
def test_a_binary_event_is_the_same_event_whatever_the_binding_calls_its_headers(prefix: str) -> None:
    assert read_binary(prefix=prefix) == read()


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", "application/json; charset=utf-8", "text/plain"]
)
def test_a_binary_event_is_known_by_its_headers(content_type: str | None) -> None:
    assert read_binary(content_type=content_type) == read()


@pytest.mark.parametrize(
    "content_type", [None, "", "application/json", STRUCTURED, f"{STRUCTURED}; charset=UTF-8", STRUCTURED.upper()]
)
def test_a_structured_event_is_read_even_if_its_publisher_forgot_the_content_type(content_type: str | None) -> None:
    assert read(content_type=content_type).id == "event-1"


def test_where_content_type_and_headers_differ_the_content_type_decides() -> None:
    event = parse_event(
        json.dumps(document(id="of-the-body")).encode(),
        content_type=STRUCTURED,
        headers={"ce-specversion": "1.0", "ce-id": "of-the-headers"},
    )

    assert event.id == "of-the-body"


def test_header_values_may_be_bytes() -> None:
    assert read_binary(id=b"event-1", sequence=b"7").sequence == 7


def test_header_bytes_that_are_no_text_do_no_harm() -> None:
    assert read_binary(id=b"\xff\xfe").id == "\ufffd\ufffd"


@pytest.mark.parametrize("time", [datetime(2026, 3, 2, 9, 30, tzinfo=UTC), 1772443800000])
def test_a_binary_time_may_be_the_timestamp_of_a_binding(time: Any) -> None:
    assert read_binary(time=time).time == datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize("time", [10**30, -(10**30), 10**17])
def test_a_binary_time_beyond_all_calendars_is_malformed(time: int) -> None:
    with pytest.raises(Malformed, match="time"):
        read_binary(time=time)


# --- attributes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "subject"])
@pytest.mark.parametrize("read_it", [lambda **a: read(document(**a)), read_binary])
def test_a_missing_attribute_is_named(name: str, read_it: Any) -> None:
    with pytest.raises(Malformed, match=name):
        read_it(**{name: None})


@pytest.mark.parametrize("name", ["id", "source", "type", "subject"])
@pytest.mark.parametrize("value", ["", 7, True, [], {}, "x" * 513])
def test_an_attribute_of_the_wrong_kind_is_named(name: str, value: Any) -> None:
    with pytest.raises(Malformed, match=name):
        read(document(**{name: value}))


def test_only_version_1_of_cloudevents_is_read() -> None:
    with pytest.raises(Malformed, match="specversion"):
        read(document(specversion="0.3"))


@pytest.mark.parametrize(("given_as", "means"), [(None, None), (0, 0), (7, 7), ("7", 7), ("007", 7), (10**17, 10**17)])
def test_a_sequence_is_a_number_or_its_digits(given_as: Any, means: int | None) -> None:
    assert read(document(sequence=given_as)).sequence == means


@pytest.mark.parametrize("wrong", [-1, "-1", "", "1.0", 1.5, True, "seven", "٧", "1e3", " 7", 10**18, "9" * 19, [], {}])
def test_any_other_sequence_is_malformed(wrong: Any) -> None:
    with pytest.raises(Malformed, match="sequence"):
        read(document(sequence=wrong))


@pytest.mark.parametrize(
    "wrong", ["yesterday", "2026-03-02", "2026-03-02T09:30:00", "", 7, True, [], "9999-12-31T23:59:59-23:59"]
)
def test_a_time_that_is_none_is_malformed(wrong: Any) -> None:
    with pytest.raises(Malformed, match="time"):
        read(document(time=wrong))


def test_a_time_is_kept_in_milliseconds_for_that_is_what_the_database_keeps() -> None:
    assert (
        read(document(time="2026-03-02T10:30:00.123999+01:00")).time.isoformat() == "2026-03-02T09:30:00.123000+00:00"
    )


def test_without_a_time_the_event_is_of_now() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=1)

    assert before <= read(document(time=None)).time <= datetime.now(UTC)


def test_the_correlation_id_is_read_and_other_attributes_are_kept() -> None:
    event = read(document(correlationid="c-42", traceparent="00-a-b-01", dataschema="ignored", flag=True))

    assert event.correlation_id == "c-42"
    assert event.extensions == {"traceparent": "00-a-b-01"}


def test_a_user_event_must_be_about_its_member() -> None:
    with pytest.raises(Malformed, match="subject"):
        read(document(subject=CABINET))


def test_a_members_id_in_capitals_is_the_same_member() -> None:
    event = read(document(user_data({"id": MEMBER.upper()}), subject=MEMBER.upper()))

    assert event.subject == MEMBER
    assert event.data.model_dump()["member"]["id"] == MEMBER


# --- bodies ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"{", b"not json", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000, b'"\xed\xa0\x80"']
)
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed, match="not JSON"):
        read(body)


@pytest.mark.parametrize("body", [b"null", b"1", b"[]", b'"text"'])
def test_json_that_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed, match="JSON object"):
        read(body)
    with pytest.raises(Malformed, match="data"):
        read_binary(body)


def test_what_is_not_json_in_binary_mode_is_malformed() -> None:
    with pytest.raises(Malformed, match="not JSON"):
        read_binary(b"\xff\xfe{")


@pytest.mark.parametrize("data", [[], "text", 7, {}, None])
def test_data_of_another_shape_is_malformed(data: Any) -> None:
    body = document()
    body["data"] = data

    with pytest.raises(Malformed, match="data"):
        read(body)


def test_data_in_base64_is_refused_with_advice() -> None:
    body = {name: value for name, value in document().items() if name != "data"}

    with pytest.raises(Malformed, match="data_base64"):
        read({**body, "data_base64": "e30="})


@pytest.mark.parametrize(
    "name", ["convive.user.vanished.v1", "convive.user.created.v2", "user.created", "com.example.thing", "convive."]
)
def test_an_unknown_type_is_told_apart(name: str) -> None:
    with pytest.raises(UnknownType) as caught:
        read(document(type=name))

    assert name in str(caught.value)
    assert caught.value.slug == "unknown_type"


def test_a_message_up_to_the_limit_is_read() -> None:
    body = json.dumps(document()).encode()

    assert read(body + b" " * (LARGEST_MESSAGE - len(body))).id == "event-1"


@pytest.mark.parametrize("size", [LARGEST_MESSAGE + 1, 10 * 1024 * 1024])
def test_a_message_over_the_limit_is_refused_unread(size: int) -> None:
    with pytest.raises(Oversize, match=str(size)):
        read(b"x" * size)


# --- the member --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        ("member", "id"),
        ("member", "first_name"),
        ("member", "last_name"),
        ("member", "email"),
        ("dossier", "id"),
        ("dossier", "name"),
        ("cabinet", "id"),
        ("cabinet", "name"),
        ("member",),
        ("dossier",),
        ("cabinet",),
    ],
)
def test_a_missing_field_is_named(path: tuple[str, ...]) -> None:
    data = user_data()
    holder = data
    for name in path[:-1]:
        holder = holder[name]
    del holder[path[-1]]

    with pytest.raises(Malformed) as caught:
        read(document(data))

    assert f"data.{'.'.join(path)}: Field required" in str(caught.value)


def test_what_is_not_given_has_its_default() -> None:
    data = read().data.model_dump()

    assert data["invite_by"] == "email"
    assert data["invited_by"] is None
    assert {name: data["member"][name] for name in ("employee_code", "phone", "locale", "time_zone", "role")} == {
        "employee_code": None,
        "phone": None,
        "locale": "fr",
        "time_zone": "Europe/Paris",
        "role": "standard_user",
    }
    assert data["member"]["own_expense_reports"] is False


def test_unknown_fields_are_ignored() -> None:
    data = {**user_data({"pronouns": "elle"}), "campaign": {"deep": [1, 2, {}]}}

    assert read(document(data)) == read()


def test_an_invitation_by_sms_without_a_phone_names_the_phone() -> None:
    with pytest.raises(Malformed, match=r"member\.phone is required"):
        read(document(user_data(invite_by="sms")))


@pytest.mark.parametrize("phone", ["+33612345678", "+4930123456"])
def test_a_phone_is_taken_in_e164(phone: str) -> None:
    assert read(document(user_data({"phone": phone}, invite_by="sms"))).data.model_dump()["member"]["phone"] == phone


@pytest.mark.parametrize(
    "phone", ["0612345678", "+33 6 12", "+0612345678", "+336123456789012345", "+33612345678\n", ""]
)
def test_any_other_phone_is_named(phone: str) -> None:
    with pytest.raises(Malformed, match="phone"):
        read(document(user_data({"phone": phone})))


@pytest.mark.parametrize(
    "email",
    [
        "jeanne@example.com\nBcc: everyone@example.com",
        "jeanne@example.com\r\n",
        "\njeanne@example.com",
        "jeanne @example.com",
        "jeanne\x00@example.com",
        "jeanne\u2028@example.com",
        "jeanne",
        "@",
        "a@b@c",
        "",
        "x" * 250 + "@example.com",
    ],
)
def test_an_address_that_could_hurt_a_mail_is_named_and_not_repeated(email: str) -> None:
    with pytest.raises(Malformed) as caught:
        read(document(user_data({"email": email})))

    assert "data.member.email" in str(caught.value)
    assert "everyone" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "Zoë-Anaïs d’Été",
        "👩🏽‍🚀",
        "مريم عبد الله",
        "שרה",
        "山田太郎",
        "<script>alert(1)</script>",
        '"; DROP TABLE members; --',
        "{{ 7 * 7 }}",
        "O'Brien & Söhne",
        "x" * 100,
        "𐍈" * 100,
        "e\u0301",
    ],
)
@pytest.mark.parametrize("field", ["first_name", "last_name"])
def test_a_name_is_whatever_the_person_is_called(name: str, field: str) -> None:
    assert read(document(user_data({field: name}))).data.model_dump()["member"][field] == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "\u2003", "a\nb", "a\rb", "a\tb", "\x00", "\x1b[31m", "\x7f", "\x85", "a\u2028b", "a\u2029b", "x" * 101],
)
@pytest.mark.parametrize("field", ["first_name", "last_name"])
def test_a_name_that_is_none_is_named(name: str, field: str) -> None:
    with pytest.raises(Malformed, match=f"data.member.{field}"):
        read(document(user_data({field: name})))


def test_half_of_a_surrogate_pair_is_not_json() -> None:
    body = json.dumps(document()).replace("Jeanne", "\\ud83d").encode()

    with pytest.raises(Malformed):
        read(body)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("role", "king"),
        ("locale", "français"),
        ("locale", "../../etc"),
        ("locale", "fr\n"),
        ("locale", "fr" + "-aa" * 40),
        ("time_zone", "Europe/Paris; rm"),
        ("own_expense_reports", "perhaps"),
        ("employee_code", "a\nb"),
        ("id", "not-a-uuid"),
        ("id", 7),
    ],
)
def test_a_wrong_field_of_the_member_is_named(field: str, wrong: Any) -> None:
    with pytest.raises(Malformed, match=f"data.member.{field}"):
        read(document(user_data({field: wrong})))


def test_the_faults_of_a_hopeless_message_are_not_listed_without_end() -> None:
    with pytest.raises(Malformed) as caught:
        read(
            document(
                {"account_id": MEMBER, "invitation_ids": ["x"] * 1000},
                type="convive.account.signed_in.v1",
                subject=MEMBER,
            )
        )

    assert len(str(caught.value)) < 2000


# --- whatever comes ----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
HEADER = st.one_of(
    st.text(), st.binary(), st.integers(), st.booleans(), st.none(), st.floats(), st.datetimes(), st.lists(st.text())
)
ATTRIBUTES = ["specversion", "id", "source", "type", "subject", "time", "sequence", "correlationid", "data"]


def only_event_errors(body: bytes, content_type: str | None, headers: dict[str, Any]) -> None:
    try:
        event = parse_event(body, content_type=content_type, headers=headers)
    except (Malformed, UnknownType, Oversize) as refused:
        event = None
        said = str(refused)
    else:
        said = "nothing"
    assert said
    if event is not None:
        assert parse_event(event.to_structured(), content_type=STRUCTURED) == event


@given(st.binary(max_size=400), st.none() | st.text(), st.dictionaries(st.text(), HEADER, max_size=4))
def test_no_bytes_make_reading_fail_otherwise(body: bytes, content_type: str | None, headers: dict[str, Any]) -> None:
    only_event_errors(body, content_type, headers)


@given(st.dictionaries(st.sampled_from(ATTRIBUTES), JSON, max_size=5))
@settings(max_examples=300)
def test_no_structured_event_makes_reading_fail_otherwise(changes: dict[str, Any]) -> None:
    only_event_errors(json.dumps({**document(), **changes}).encode(), STRUCTURED, {})


@given(st.dictionaries(st.sampled_from(ATTRIBUTES), HEADER, max_size=5))
@settings(max_examples=300)
def test_no_binary_event_makes_reading_fail_otherwise(changes: dict[str, Any]) -> None:
    headers: dict[str, Any] = {f"ce-{name}": value for name, value in {**document(), **changes}.items()}
    only_event_errors(json.dumps(user_data()).encode(), "application/json", headers)


@given(st.data(), st.sampled_from(["member", "dossier", "cabinet"]), JSON)
@settings(max_examples=300)
def test_no_data_make_reading_fail_otherwise(data: st.DataObject, part: str, value: Any) -> None:
    fields = user_data()
    fields[part][data.draw(st.sampled_from([*fields[part], "phone", "locale", "role"]))] = value

    only_event_errors(json.dumps(document(fields)).encode(), STRUCTURED, {})


@given(st.integers(0, 600), st.binary(min_size=1, max_size=3))
def test_no_damaged_byte_makes_reading_fail_otherwise(place: int, damage: bytes) -> None:
    whole = json.dumps(document()).encode()

    only_event_errors(whole[:place] + damage + whole[place + 1 :], STRUCTURED, {})


# --- writing -----------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back_the_same() -> None:
    event = new_event(
        "user.created", source="/payroll", subject=MEMBER, data=user_data(), sequence=7, correlation_id="c-42", id="e"
    )
    now_in_milliseconds = event.time.replace(microsecond=event.time.microsecond // 1000 * 1000)

    again = parse_event(event.to_structured(), content_type=STRUCTURED)

    assert (again.id, again.sequence, again.correlation_id, again.data) == ("e", 7, "c-42", event.data)
    assert again.time == now_in_milliseconds


def test_a_sequence_is_written_as_text_as_the_extension_asks() -> None:
    body = structured(id="e", source="/s", type="t", subject="s", time=datetime.now(UTC), data={}, sequence=7)

    assert json.loads(body)["sequence"] == "7"


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 3, 2, 9, 30, 0, 123999, tzinfo=UTC), "2026-03-02T09:30:00.123Z"),
        (datetime(2026, 3, 2, 9, 30, tzinfo=timezone(timedelta(hours=2))), "2026-03-02T07:30:00.000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_times_are_written_in_utc_with_milliseconds(moment: datetime, text: str) -> None:
    assert rfc3339(moment) == text


def test_an_event_with_wrong_data_is_not_made() -> None:
    with pytest.raises(Malformed, match=r"data\.member\.email"):
        new_event("user.created", source="/payroll", subject=MEMBER, data=user_data({"email": "nobody"}))
    with pytest.raises(UnknownType):
        new_event("user.vanished", source="/payroll", subject=MEMBER, data={})


def test_a_publisher_can_work_out_the_id_of_the_invitation() -> None:
    assert invitation_id(DIRECTORY_SOURCE, MEMBER) == str(uuid5(uuid5(NAMESPACE_URL, "/convive/directory"), MEMBER))
    # A value that other teams may have written down: it never changes.
    assert invitation_id("/convive/directory", "0b4e3c1a-6f0d-4b0e-9a3e-2f6f0a9d7c11") == KNOWN
    assert invitation_id("/payroll", MEMBER) != KNOWN


KNOWN = "6aaf45f0-2754-57dd-ba9f-993b492edd47"
