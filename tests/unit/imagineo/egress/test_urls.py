"""Receivers' URLs: one reading, and every other spelling refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imagineo.egress.urls import MAX_CHARACTERS, Reach, Receiver, read
from imagineo.errors import InvalidParameter

REFUSED = [
    "",
    "hooks.example.com",
    "//hooks.example.com/",
    "http://hooks.example.com/",
    "ftp://hooks.example.com/",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "https://",
    "https:///path",
    "https://user@hooks.example.com/",
    "https://user:password@hooks.example.com/",
    "https://hooks.example.com#@127.0.0.1/",
    "https://hooks.example.com/#fragment",
    "https://hooks.example.com\\@127.0.0.1/",
    "https://hooks.example.com\\.evil.example/",
    "https://hooks.example.com/a b",
    "https://hooks.example.com/\r\nX-Evil: 1",
    "https://hooks.example.com/%zz",
    "https://hooks.example.com/\u00e9",
    "https://h\u00f6oks.example.com/",
    "https://hooks\u3002example.com/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://hooks%2eexample.com/",
    "https://hooks..example.com/",
    "https://.example.com/",
    "https://hooks.example.com./",
    "https://-a.example.com/",
    f"https://{'a' * 64}.example.com/",
    "https://hooks.example.com:0/",
    "https://hooks.example.com:65536/",
    "https://hooks.example.com:/",
    "https://hooks.example.com:80:80/",
    " https://hooks.example.com/",
    "https://hooks.example.com/ ",
    f"https://hooks.example.com/{'a' * MAX_CHARACTERS}",
    # Names that stay inside.
    "https://localhost/",
    "https://a.localhost/",
    "https://postgres/",
    "https://auth.imagineo.svc/",
    "https://auth.imagineo.svc.cluster.local/",
    "https://metadata.google.internal/",
    "https://printer.lan/",
    "https://1.0.0.127.in-addr.arpa/",
    # Addresses, in every notation.
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0x7f.1/",
    "https://0x7f000001/",
    "https://0X7F.0.0.1/",
    "https://2130706433/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://127.0.0.1./",
    "https://127.0.0.01/",
    "https://127.0.0.0x1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://169.254.169.254/latest/meta-data/",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://0251.0376.0251.0376/",
    "https://10.0.0.1/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://256.1.1.1/",
    "https://1.1.1.1.1/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:127.0.0.1]/",
    "https://[::ffff:169.254.169.254]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fd00:ec2::254]/",
    "https://[::1/",
    "https://::1/",
    "https://[hooks.example.com]/",
]


@pytest.mark.parametrize("url", REFUSED)
def test_anything_but_the_plain_https_url_of_a_public_place_is_refused(url):
    with pytest.raises(InvalidParameter) as refused:
        read("url", url)
    assert refused.value.metadata["param"] == "url"


@pytest.mark.parametrize(
    ("url", "receiver", "authority"),
    [
        ("https://hooks.example.com", Receiver("https", "hooks.example.com", 443, "/"), "hooks.example.com"),
        ("HTTPS://Hooks.Example.COM/A?b=C", Receiver("https", "hooks.example.com", 443, "/A?b=C"), "hooks.example.com"),
        ("https://a.example:8443?x", Receiver("https", "a.example", 8443, "/?x"), "a.example:8443"),
        ("https://xn--hks-sna.example/", Receiver("https", "xn--hks-sna.example", 443, "/"), "xn--hks-sna.example"),
        ("https://8.8.8.8/", Receiver("https", "8.8.8.8", 443, "/"), "8.8.8.8"),
        (
            "https://[2606:4700:4700::1111]:444/x",
            Receiver("https", "2606:4700:4700::1111", 444, "/x"),
            "[2606:4700:4700::1111]:444",
        ),
        ("https://0x7f.example.com/", Receiver("https", "0x7f.example.com", 443, "/"), "0x7f.example.com"),
        ("https://a.example/%20(~)", Receiver("https", "a.example", 443, "/%20(~)"), "a.example"),
    ],
)
def test_a_public_url_is_read_into_its_parts(url, receiver, authority):
    assert read("url", url) == receiver
    assert receiver.authority == authority


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/x", "http://localhost:1/", "https://[::1]:9/", "http://hooks.example.com/"]
)
def test_development_opens_http_and_this_machine(url):
    assert read("url", url, Reach(allow_loopback=True)).target


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://169.254.169.254/", "http://127.1/", "http://postgres/"])
def test_development_opens_nothing_else(url):
    with pytest.raises(InvalidParameter):
        read("url", url, Reach(allow_loopback=True))


@pytest.mark.parametrize("url", ["https://hooks.example.com/x", "https://hooks.example.com:8443/"])
def test_a_port_that_is_let_out_may_be_named(url):
    assert read("url", url, Reach(ports=(8443, 443))).port in (443, 8443)


@pytest.mark.parametrize("url", ["https://hooks.example.com:444/", "https://8.8.8.8:80/", "http://127.0.0.1:22/"])
def test_a_port_that_is_not_is_refused_with_those_that_are(url):
    with pytest.raises(InvalidParameter, match="that this platform may call: 443, 8443") as refused:
        read("webhook_url", url, Reach(allow_loopback=True, ports=(8443, 443)))
    assert refused.value.metadata["param"] == "webhook_url"


@given(st.text(alphabet="https:/.0123456789abcxX[]@\\#?%- \u3002\uff11", max_size=60))
def test_whatever_is_read_has_a_host_that_one_parser_gave(text):
    for url in (text, "https://" + text):
        try:
            receiver = read("url", url)
        except InvalidParameter:
            continue
        assert url.lower().removeprefix("https://").startswith((receiver.host, "["))
        assert not set(receiver.host) & set("@\\/#?% ")
