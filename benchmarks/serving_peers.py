"""What the API is measured beside: how a first version would be written, and an answer that costs nothing to find."""

import json
import os

import redis
from fastapi import FastAPI, HTTPException
from litestar import Litestar, get
from litestar.params import FromPath
from pydantic import BaseModel

from retrieval.schemas import Recommendation, Recommendations


class NaiveRecommendation(BaseModel):
    campaign_id: str
    ranking_score: float
    reason: str


class NaiveRecommendations(BaseModel):
    user_id: str
    recommendations: list[NaiveRecommendation]
    retrieval_source: str


def naive() -> FastAPI:
    """FastAPI, the synchronous Redis client, json: an answer is read, decoded, checked and encoded again."""
    app = FastAPI()
    cache = redis.Redis.from_url(os.environ["CAMPAIGNS_REDIS_URL"])

    @app.get("/recommendations/{user_id}", response_model=NaiveRecommendations)
    def recommendations(user_id: str, limit: int = 10) -> dict:
        cached = cache.get(f"naive:{user_id}:{limit}")
        if cached is None:
            raise HTTPException(404)
        return json.loads(cached)

    return app


def answer(user_id: str) -> Recommendations:
    """An answer of ten campaigns with reasons, 1.2 kB as JSON: what the API gives for most customers."""
    reason = "Customers who talk like you responded to {} (7 of your 50 nearest)."
    ranked = [
        Recommendation(campaign_id=f"c_{n:03d}", ranking_score=round(1 - n / 20, 4), reason=reason.format(f"Week {n}")) for n in range(10)
    ]
    return Recommendations(user_id=user_id, recommendations=ranked, retrieval_source="cache")


def static() -> Litestar:
    """Litestar alone, on the server of the API: no cache, no key, no measures, no headers."""
    held = answer("u_000001")

    @get("/recommendations/{user_id:str}")
    async def recommendations(user_id: FromPath[str]) -> Recommendations:
        return held

    return Litestar([recommendations], openapi_config=None)
