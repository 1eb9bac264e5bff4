"""The table of roles is what the roles mean, and every gRPC method of the protocol stands in its table."""

from __future__ import annotations

import importlib
import pkgutil

import imagineo.v1
from imagineo.permissions import ACCESS, PERMISSIONS_OF, SCOPES, Caller, allows
from imagineo.v1 import account_pb2 as pb


def test_each_role_may_what_the_one_below_may_and_owners_may_all():
    owner, admin, developer, viewer = (
        PERMISSIONS_OF[role] for role in (pb.ROLE_OWNER, pb.ROLE_ADMIN, pb.ROLE_DEVELOPER, pb.ROLE_VIEWER)
    )
    assert owner == set(SCOPES.values())
    assert owner > admin > developer > viewer
    assert owner - admin == {pb.PERMISSION_AUDIT_READ}
    assert all(word.endswith(":read") for word, permission in SCOPES.items() if permission in viewer)
    assert not allows(pb.ROLE_UNSPECIFIED, pb.PERMISSION_MODELS_READ)


def test_every_method_of_the_protocol_names_its_permission():
    methods = set()
    for module in pkgutil.iter_modules(imagineo.v1.__path__):
        if module.name.endswith("_service_pb2"):
            descriptor = importlib.import_module(f"imagineo.v1.{module.name}").DESCRIPTOR
            methods |= {
                f"/{service.full_name}/{method.name}"
                for service in descriptor.services_by_name.values()
                for method in service.methods
            }
    assert methods == set(ACCESS)
    assert all(isinstance(access, Caller) or access in SCOPES.values() for access in ACCESS.values())
