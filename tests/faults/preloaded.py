"""What every refresh imports and makes once, so that a process which was forked after it has it already."""

import gc

import dagster as dg
import sentence_transformers.models  # noqa: F401 this and the next are what embedding imports
import transformers.models.bert.modeling_bert  # noqa: F401

from platform_assets.definitions import defs

dg.DagsterInstance.ephemeral().dispose()
defs.resolve_job_def("refresh")

gc.collect()
gc.freeze()  # nothing of this is ever garbage, and looking for it takes half a second in each process
