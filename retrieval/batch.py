"""Answers for many customers at once, such as for an e-mail send: each store is asked once for all of a chunk.

The same ranking over the same evidence as for one customer. What a store's silence means for each of them is what the table
of retrieval.recommend says; where it leaves nothing to say, their line holds the problem and the others go on.
"""

CHUNK = 50
"""Customers whose evidence is fetched and ranked at once: others are answered in between."""
