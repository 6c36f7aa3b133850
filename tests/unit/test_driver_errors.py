"""Every exception that a driver can raise has been given one of our names, store by store.

A store's row names its table, the driver's modules of exceptions, and `catch_all`: the entries that are there so that
nothing slips through, but do not count as having been thought about. A driver's new kind of error fails here first.
"""

import inspect
from types import ModuleType
from typing import NamedTuple

import grpc
import neo4j.exceptions
import pymilvus.exceptions
import pymongo.errors
import pytest
import redis.exceptions
import sqlalchemy.exc
from bson.errors import InvalidBSON
from pymilvus.exceptions import MilvusException

from stores.cache import REDIS_ERRORS
from stores.errors import ContractBroken, DriverErrors, NotFound, StoreError, Unavailable, verdict
from stores.graph import NEO4J_ERRORS
from stores.mongodb import MONGODB_ERRORS
from stores.sql import SQL_ERRORS
from stores.vectors import MILVUS_ERRORS, NotLoaded


class Refused(grpc.RpcError):
    """An error as gRPC raises it: the call that ended so."""

    def __init__(self, status: grpc.StatusCode) -> None:
        self._status = status

    def code(self) -> grpc.StatusCode:
        return self._status


class Driver(NamedTuple):
    store: str
    errors: DriverErrors
    modules: tuple[ModuleType, ...]
    catch_all: tuple[type[Exception], ...] = ()


NEO4J_ROOTS = (neo4j.exceptions.GqlError, neo4j.exceptions.Neo4jError, neo4j.exceptions.DriverError)

DRIVERS = [
    Driver("mongodb", MONGODB_ERRORS, (pymongo.errors,), catch_all=(pymongo.errors.PyMongoError,)),
    Driver("redis", REDIS_ERRORS, (redis.exceptions,), catch_all=(redis.exceptions.RedisError,)),
    Driver("milvus", MILVUS_ERRORS, (pymilvus.exceptions,), catch_all=(MilvusException,)),
    Driver("neo4j", NEO4J_ERRORS, (neo4j.exceptions,), catch_all=NEO4J_ROOTS),
    Driver("sql", SQL_ERRORS, (sqlalchemy.exc,)),
]

MEANINGS = [
    ("mongodb", pymongo.errors.ServerSelectionTimeoutError("no server"), Unavailable),
    ("mongodb", pymongo.errors.NetworkTimeout("silent"), Unavailable),
    ("mongodb", pymongo.errors.NotPrimaryError("election"), Unavailable),
    ("mongodb", pymongo.errors.CursorNotFound("gone", 43), Unavailable),
    ("mongodb", pymongo.errors.ExecutionTimeout("slow", 50), Unavailable),
    ("mongodb", pymongo.errors.OperationFailure("stepped down", 189), Unavailable),
    ("mongodb", pymongo.errors.OperationFailure("wrong password", 18), ContractBroken),
    ("mongodb", pymongo.errors.OperationFailure("no code"), ContractBroken),
    ("mongodb", pymongo.errors.DuplicateKeyError("two upserts of one key", 11000), Unavailable),
    ("mongodb", pymongo.errors.BulkWriteError({"writeErrors": [{"code": 11000}], "writeConcernErrors": [{"code": 64}]}), Unavailable),
    ("mongodb", pymongo.errors.BulkWriteError({"writeErrors": [{"code": 11000}, {"code": 121}], "writeConcernErrors": []}), ContractBroken),
    ("mongodb", pymongo.errors.DocumentTooLarge("17 MB"), ContractBroken),
    ("mongodb", InvalidBSON("bytes"), ContractBroken),
    ("mongodb", OverflowError("2**63"), ContractBroken),
    ("redis", redis.exceptions.ConnectionError("refused"), Unavailable),
    ("redis", redis.exceptions.TimeoutError("silent"), Unavailable),
    ("redis", redis.exceptions.BusyLoadingError("starting"), Unavailable),
    ("redis", redis.exceptions.MaxConnectionsError("crowded"), Unavailable),
    ("redis", redis.exceptions.ReadOnlyError("a replica"), Unavailable),
    ("redis", redis.exceptions.OutOfMemoryError("full"), Unavailable),
    ("redis", ConnectionResetError("reset"), Unavailable),
    ("redis", redis.exceptions.AuthenticationError("wrong password"), ContractBroken),
    ("redis", redis.exceptions.NoPermissionError("acl"), ContractBroken),
    ("redis", redis.exceptions.ResponseError("WRONGTYPE"), ContractBroken),
    ("milvus", pymilvus.exceptions.MilvusUnavailableException(message="starting"), Unavailable),
    ("milvus", pymilvus.exceptions.CollectionNotExistException(message="no such collection"), NotFound),
    ("milvus", MilvusException(code=65535, message="anything"), ContractBroken),
    ("milvus", MilvusException(code=100, message="collection not found"), NotFound),
    ("milvus", MilvusException(code=101, message="collection not loaded"), NotLoaded),
    ("milvus", MilvusException(code=2, message="Fail connecting to server"), Unavailable),
    ("milvus", MilvusException(code=8, message="rate limit"), Unavailable),
    ("milvus", MilvusException(message="[search] Retry timeout: 0.5s"), Unavailable),
    ("milvus", MilvusException(code=grpc.StatusCode.UNAVAILABLE, message="[query] Retry timeout: 0.5s"), Unavailable),
    ("milvus", MilvusException(code=5, message="node moved", retriable=True), Unavailable),
    ("milvus", pymilvus.exceptions.ParamError(message="wrong"), ContractBroken),
    ("milvus", TimeoutError(), Unavailable),
    ("milvus", grpc.RpcError(), Unavailable),
    ("milvus", Refused(grpc.StatusCode.DEADLINE_EXCEEDED), Unavailable),
    ("milvus", Refused(grpc.StatusCode.UNIMPLEMENTED), ContractBroken),
    ("neo4j", neo4j.exceptions.ServiceUnavailable("refused"), Unavailable),
    ("neo4j", neo4j.exceptions.SessionExpired("gone"), Unavailable),
    ("neo4j", neo4j.exceptions.ConnectionAcquisitionTimeoutError("crowded"), Unavailable),
    ("neo4j", neo4j.exceptions.DatabaseUnavailable("starting"), Unavailable),
    ("neo4j", neo4j.exceptions.TransientError("deadlock"), Unavailable),
    ("neo4j", neo4j.exceptions.AuthError("wrong password"), ContractBroken),
    ("neo4j", neo4j.exceptions.ConstraintError("two nodes of one id"), ContractBroken),
    ("neo4j", neo4j.exceptions.CypherSyntaxError("not Cypher"), ContractBroken),
    ("neo4j", neo4j.exceptions.ConfigurationError("not an address"), ContractBroken),
    ("neo4j", TimeoutError(), Unavailable),
    ("sql", sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("database is locked")), Unavailable),
    ("sql", sqlalchemy.exc.TimeoutError("pool"), Unavailable),
    ("sql", sqlalchemy.exc.IntegrityError("INSERT", {}, Exception("unique")), ContractBroken),
    ("sql", sqlalchemy.exc.NoResultFound(), NotFound),
]


def public_exceptions(module: ModuleType) -> list[type[Exception]]:
    classes = [cls for name, cls in inspect.getmembers(module, inspect.isclass) if not name.startswith("_")]
    return [cls for cls in classes if issubclass(cls, Exception) and not issubclass(cls, Warning)]


EXCEPTIONS = [(driver, cls) for driver in DRIVERS for module in driver.modules for cls in public_exceptions(module)]


@pytest.mark.parametrize(("driver", "cls"), EXCEPTIONS, ids=[f"{driver.store}-{cls.__name__}" for driver, cls in EXCEPTIONS])
def test_every_exception_of_the_driver_has_a_name_of_ours(driver: Driver, cls: type[Exception]) -> None:
    counted = [known for known in cls.__mro__ if known in driver.errors and (known is cls or known not in driver.catch_all)]
    assert counted, f"{driver.store}: nobody has said what {cls.__name__} means"


@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.store)
def test_the_walk_finds_the_drivers_exceptions(driver: Driver) -> None:
    assert sum(len(public_exceptions(module)) for module in driver.modules) > 10


@pytest.mark.parametrize(
    ("store", "raised", "becomes"), MEANINGS, ids=[f"{store}-{type(raised).__name__}" for store, raised, _ in MEANINGS]
)
def test_an_exception_becomes_what_it_means(store: str, raised: Exception, becomes: type[StoreError]) -> None:
    (errors,) = [driver.errors for driver in DRIVERS if driver.store == store]
    assert verdict(errors, raised) is becomes
