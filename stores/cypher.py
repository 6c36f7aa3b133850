"""The Cypher that `graph.py` speaks: what Neo4j 5 and ArcadeDB both understand, always with parameters."""

from collections.abc import Iterable, Iterator

# What surrounds a customer, as one row of lists. Nothing in a list counts what the customer did.
AROUND = """
RETURN EXISTS { MATCH (:User {id: $user}) } AS known,
COLLECT {
  MATCH (:User {id: $user})-[tie:ENGAGED_WITH|SHOWN|DISMISSED|CONVERTED]->(campaign:Campaign)
  RETURN [campaign.id, type(tie), tie.count, tie.weight, tie.last_at, tie.times]
} AS own,
COLLECT {
  MATCH (user:User {id: $user})
  RETURN [user.consent_channels, user.consent_given, user.suppressed, user.attribute_names, user.attribute_values, user.mailed]
} AS profile,
COLLECT {
  UNWIND $neighbours AS neighbour
  MATCH (:User {id: neighbour})-[tie:ENGAGED_WITH]->(c:Campaign)
  WITH neighbour, c.id AS campaign, tie.weight AS weight ORDER BY weight DESC, campaign
  WITH neighbour, collect([campaign, weight])[..$limit] AS ties
  RETURN [neighbour, ties]
} AS neighbours,
COLLECT {
  MATCH (:User {id: $user})-[:ENGAGED_WITH]->(mine:Campaign)
  WITH collect(mine) AS engaged, collect(mine.id) AS own
  UNWIND engaged AS common
  MATCH (common)-[shares:SHARES_CUSTOMERS]->(c:Campaign)
  WITH common.id AS via, c.id AS campaign, shares.customers - CASE WHEN c.id IN own THEN 1 ELSE 0 END AS customers
  WHERE customers > 0
  WITH via, campaign, customers ORDER BY customers DESC, campaign
  WITH via, collect([campaign, customers])[..$limit] AS ties
  RETURN [via, ties]
} AS co_engaged,
COLLECT {
  MATCH (user:User {id: $user})
  OPTIONAL MATCH (user)-[:ENGAGED_WITH]->(mine:Campaign)
  WITH user, collect(mine.id) AS own
  MATCH (user)-[:EXPRESSED]->(i:Intent)<-[attracts:ATTRACTS]-(c:Campaign)
  WITH i.id AS intent, c.id AS campaign, attracts.weight - CASE WHEN c.id IN own THEN 1 ELSE 0 END AS customers
  WHERE customers > 0
  WITH intent, campaign, customers ORDER BY customers DESC, campaign
  WITH intent, collect([campaign, customers])[..$limit] AS ties
  RETURN [intent, ties]
} AS intents,
COLLECT {
  MATCH (:User {id: $user})-[said:EXPRESSED]->(i:Intent)
  RETURN [i.id, said.count]
} AS expressed,
COLLECT {
  MATCH (user:User {id: $user})
  RETURN [user.words, user.word_counts, user.word_times, user.channels, user.channel_counts]
} AS spoken
"""
# Parts of what surrounds many customers; the strongest are picked outside, for sorting all of it here takes longer.
ENGAGED = "UNWIND $ids AS id MATCH (:User {id: id})-[tie:ENGAGED_WITH]->(c:Campaign) RETURN id, collect([c.id, tie.weight])"
COMPANIONS = "UNWIND $ids AS id MATCH (:Campaign {id: id})-[tie:SHARES_CUSTOMERS]->(c:Campaign) RETURN id, collect([c.id, tie.customers])"
ATTRACTED = "UNWIND $ids AS id MATCH (:Intent {id: id})<-[tie:ATTRACTS]-(c:Campaign) RETURN id, collect([c.id, tie.weight])"
PUT_CAMPAIGNS = """
UNWIND $rows AS row MERGE (campaign:Campaign {id: row[0]})
SET campaign.name = row[1], campaign.category = row[2], campaign.known = true
"""
FORGET_CAMPAIGNS = (
    "MATCH (campaign:Campaign) WHERE campaign.id IN $ids SET campaign.known = false REMOVE campaign.name, campaign.category",
    "MATCH (campaign:Campaign) WHERE campaign.id IN $ids AND NOT EXISTS { (campaign)<--(:User) } DETACH DELETE campaign",
)
PUT_NODES = {
    "User": "UNWIND $rows AS row MERGE (:User {id: row[0]})",
    "Campaign": "UNWIND $rows AS row MERGE (campaign:Campaign {id: row[0]}) ON CREATE SET campaign.known = false",
    "Intent": "UNWIND $rows AS row MERGE (:Intent {id: row[0]})",
}
PUT_TIES = """
UNWIND $rows AS row MATCH (user:User {{id: row[0]}}) MATCH (end:{label} {{id: row[1]}})
CREATE (user)-[tie:{relationship}]->(end) SET tie.count = row[2], tie.weight = row[3], tie.last_at = row[4], tie.times = row[5]
"""
CHANGE_TIES = """
UNWIND $rows AS row MATCH (:User {{id: row[0]}})-[tie:{relationship}]->(end:{label})
WITH tie, row[1][end.id] AS new WHERE new IS NOT NULL
SET tie.count = new[0], tie.weight = new[1], tie.last_at = new[2], tie.times = new[3]
"""
DROP_TIES = "UNWIND $rows AS row MATCH (:User {{id: row[0]}})-[tie:{relationship}]->(end:{label}) WHERE end.id IN row[1] DELETE tie"
TIES_OF = """
UNWIND $ids AS id MATCH (user:User {id: id}) OPTIONAL MATCH (user)-[tie]->(end)
RETURN id, type(tie), end.id, tie.count, tie.weight, tie.last_at, tie.times
"""
PUT_PROFILES = """
UNWIND $rows AS row MATCH (user:User {id: row[0]})
SET user.consent_channels = row[1], user.consent_given = row[2], user.suppressed = row[3],
    user.attribute_names = row[4], user.attribute_values = row[5], user.mailed = row[6]
"""
PROFILES_OF = """
UNWIND $ids AS id MATCH (user:User {id: id})
RETURN id, user.consent_channels, user.consent_given, user.suppressed, user.attribute_names, user.attribute_values, user.mailed
"""
PUT_SPOKEN = """
UNWIND $rows AS row MATCH (user:User {id: row[0]})
SET user.words = row[1], user.word_counts = row[2], user.word_times = row[3], user.channels = row[4], user.channel_counts = row[5]
"""
SPOKEN_OF = """
UNWIND $ids AS id MATCH (user:User {id: id})
RETURN id, user.words, user.word_counts, user.word_times, user.channels, user.channel_counts
"""
CAMPAIGN_NODES = "UNWIND $ids AS id MATCH (c:Campaign {id: id}) RETURN id, c.known, c.name, c.category"
ATTRACTS_OF = "UNWIND $ids AS id MATCH (:Campaign {id: id})-[tie:ATTRACTS]->(intent:Intent) RETURN id, intent.id, tie.weight"
SHARES_OF = "UNWIND $ids AS id MATCH (:Campaign {id: id})-[tie:SHARES_CUSTOMERS]->(c:Campaign) RETURN id, c.id, tie.customers"
REACH_OF = """
UNWIND $ids AS id MATCH (:User {id: id})-[tie:ENGAGED_WITH|EXPRESSED]->(end) RETURN id, type(tie), end.id
"""
COUNT_ATTRACTS = """
UNWIND $ids AS id MATCH (:Campaign {id: id})<-[:ENGAGED_WITH]-(user:User)-[:EXPRESSED]->(intent:Intent) RETURN id, intent.id, count(user)
"""
COUNT_SHARED = """
UNWIND $ids AS id MATCH (:Campaign {id: id})<-[:ENGAGED_WITH]-(user:User)-[:ENGAGED_WITH]->(c:Campaign) WHERE c.id <> id
WITH id, c.id AS other, count(user) AS customers WHERE customers >= $fewest RETURN id, other, customers
"""
SHARED_BY = "UNWIND $ids AS id MATCH (:Campaign {id: id})<-[tie:SHARES_CUSTOMERS]-(c:Campaign) RETURN id, c.id, tie.customers"
PUT_ATTRACTS = """
UNWIND $rows AS row MATCH (campaign:Campaign {id: row[0]}) MATCH (intent:Intent {id: row[1]})
MERGE (campaign)-[tie:ATTRACTS]->(intent) SET tie.weight = row[2]
"""
PUT_SHARES = """
UNWIND $rows AS row MATCH (campaign:Campaign {id: row[0]}) MATCH (other:Campaign {id: row[1]})
MERGE (campaign)-[tie:SHARES_CUSTOMERS]->(other) SET tie.customers = row[2]
"""
DROP_ATTRACTS = "UNWIND $rows AS row MATCH (:Campaign {id: row[0]})-[tie:ATTRACTS]->(end:Intent) WHERE end.id IN row[1] DELETE tie"
DROP_SHARES = "UNWIND $rows AS row MATCH (:Campaign {id: row[0]})-[tie:SHARES_CUSTOMERS]->(end:Campaign) WHERE end.id IN row[1] DELETE tie"
COMPUTED = {  # relationship → what is stored of these campaigns, and the statements that put and drop
    "ATTRACTS": (ATTRACTS_OF, PUT_ATTRACTS, DROP_ATTRACTS),
    "SHARES_CUSTOMERS": (SHARES_OF, PUT_SHARES, DROP_SHARES),
}
SWEEP = (
    "MATCH (campaign:Campaign) WHERE NOT campaign.known AND NOT EXISTS { (campaign)<--(:User) } DETACH DELETE campaign",
    "MATCH (intent:Intent) WHERE NOT EXISTS { (intent)<-[:EXPRESSED]-(:User) } DETACH DELETE intent",
)


def problems_anywhere(labels: Iterable[str], ties: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Statements whose every row is a fault somewhere in the graph, each with the sentence that says it."""
    for label in labels:
        yield f"MATCH (n:{label}) WHERE n.id IS NULL WITH count(n) AS n WHERE n > 0 RETURN n", f"{{}} {label} nodes have no id"
        same = f"MATCH (n:{label}) WITH n.id AS id, count(n) AS n WHERE n > 1 RETURN id, n LIMIT 10"
        yield same, f"{label} {{}} is there {{}} times"
    for name, label in ties:
        astray = f"MATCH (a)-[t:{name}]->(b) WHERE NOT a:User OR NOT b:{label} WITH count(t) AS n WHERE n > 0 RETURN n"
        yield astray, f"{{}} {name} ties do not lead from a User to a {label}"
        yield from _faults_of_ties(name, "MATCH (a:User)")


def problems_of_customers(ties: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The same of the customers `$ids` and the ties that leave them."""
    yield "UNWIND $ids AS id MATCH (n:User {id: id}) WITH id, count(n) AS n WHERE n > 1 RETURN id, n", "User {} is there {} times"
    for name, label in ties:
        astray = f"UNWIND $ids AS id MATCH (a:User {{id: id}})-[t:{name}]->(b) WHERE NOT b:{label} WITH count(t) AS n WHERE n > 0 RETURN n"
        yield astray, f"{{}} {name} ties do not lead from a User to a {label}"
        yield from _faults_of_ties(name, "UNWIND $ids AS id MATCH (a:User {id: id})")


def _faults_of_ties(name: str, customers: str) -> Iterator[tuple[str, str]]:
    unfinished = f"{customers}-[t:{name}]->() WHERE t.count IS NULL OR t.last_at IS NULL WITH count(t) AS n WHERE n > 0 RETURN n"
    yield unfinished, f"{{}} {name} ties have no count or no time"
    double = f"{customers}-[t:{name}]->(b) WITH a.id AS a, b.id AS b, count(t) AS n WHERE n > 1 RETURN a, b, n LIMIT 10"
    yield double, f"{name} from {{}} to {{}} is there {{}} times"
