"""Whether an engine answers, asked through its official driver, in about two seconds at most and without retries."""

import httpx

from local.processes import port_is_free
from local.programs import NEO4J_USER, Place

PROBE_TIMEOUT_S = 2.0


def mongodb_answers(place: Place) -> bool:
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    milliseconds = int(PROBE_TIMEOUT_S * 1000)
    try:
        with MongoClient("127.0.0.1", place.port, serverSelectionTimeoutMS=milliseconds, socketTimeoutMS=milliseconds) as client:
            return bool(client.admin.command("ping")["ok"])
    except PyMongoError:
        return False


def milvus_answers(place: Place) -> bool:
    from stores.errors import StoreError
    from stores.settings import Settings
    from stores.vectors import Vectors

    # The driver itself waits long and logs loudly when nobody listens, so it is asked only once somebody does.
    if port_is_free(place.port):
        return False
    vectors = Vectors(Settings(milvus_url=f"http://127.0.0.1:{place.port}", write_timeout_s=PROBE_TIMEOUT_S))
    try:
        vectors.collections()
    except StoreError:
        return False
    finally:
        vectors.close()
    return True


def neo4j_answers(place: Place) -> bool:
    from neo4j import GraphDatabase
    from neo4j.exceptions import DriverError, Neo4jError

    # Bolt listens before its user exists, and failed logins are throttled for a minute: the ready endpoint is asked first.
    try:
        if httpx.get(f"http://127.0.0.1:{place.second_port}/api/v1/ready", timeout=PROBE_TIMEOUT_S).status_code != 204:
            return False
        login = (NEO4J_USER, place.password)
        with GraphDatabase.driver(f"bolt://127.0.0.1:{place.port}", auth=login, connection_timeout=PROBE_TIMEOUT_S) as driver:
            driver.verify_connectivity()
    except (httpx.HTTPError, DriverError, Neo4jError):
        return False
    return True


def redis_answers(place: Place) -> bool:
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry

    try:
        with Redis(port=place.port, socket_timeout=PROBE_TIMEOUT_S, retry=Retry(NoBackoff(), 0)) as client:
            return bool(client.ping())
    except RedisError:
        return False


HEALTHY = {"mongodb": mongodb_answers, "milvus": milvus_answers, "neo4j": neo4j_answers, "redis": redis_answers}
