"""The search stack of Figure 4: retrieval, L1, L2 with relevance, and blending; every stage can be replaced."""

from ranking.stack.blending import BestFirst, EngagementTimesRelevance, EveryNth, Utility, WeightedSum
from ranking.stack.features import ColumnsOf, Cosine, EntityColumns, Joined, Lexical
from ranking.stack.parts import Blender, Candidates, Catalogue, FeatureSource, Retriever, Scorer
from ranking.stack.results import Result, SearchResults
from ranking.stack.retrievers import EmbeddingRetriever, IndexRetriever, Remembered, TokenRetriever
from ranking.stack.stack import FirstStage, SearchStack, SecondStage, measure_latency

__all__ = [
    "BestFirst",
    "Blender",
    "Candidates",
    "Catalogue",
    "ColumnsOf",
    "Cosine",
    "EmbeddingRetriever",
    "EngagementTimesRelevance",
    "EntityColumns",
    "EveryNth",
    "FeatureSource",
    "FirstStage",
    "IndexRetriever",
    "Joined",
    "Lexical",
    "Remembered",
    "Result",
    "Retriever",
    "Scorer",
    "SearchResults",
    "SearchStack",
    "SecondStage",
    "TokenRetriever",
    "Utility",
    "WeightedSum",
    "measure_latency",
]
