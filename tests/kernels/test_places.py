"""Where the values of a network lie: what an operation reads is still there, in training and in evaluation."""

import pytest
from hypothesis import HealthCheck, given, settings

from modelflow.kernels.graph import graph
from modelflow.kernels.places import Places, Steps, placed
from modelflow.networks.resolve import resolve
from modelflow.networks.trace import Trace, trace
from random_layers import NETWORKS, that_fits


def check_nothing_is_lost(places: Places, training: bool) -> None:
    """Goes through the operations of one block; those of the whole batch write no values."""
    steps, holds = Steps(places, training), {places.values[places.graph.image][1]: places.graph.image}
    for operation in places.graph.operations if training else places.graph.evaluated:
        for value in operation.inputs:
            assert holds[places.values[value][1]] is value, f"{operation}: what it reads was written over"
        operation.forward(steps)
        place = places.values[operation.output][1]
        inputs = {places.values[value][1] for value in operation.inputs}
        assert place not in inputs, f"{operation}: writes over what it reads"
        holds[place] = operation.output


def check_places(traced: Trace) -> None:
    for lanes, registers in ((4, 32), (8, 16), (16, 32)):
        places = placed(graph(traced), lanes, registers)
        for training in (True, False):
            check_nothing_is_lost(places, training)


@settings(max_examples=300, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
@given(NETWORKS)
def test_what_an_operation_reads_is_still_there(fields):
    check_places(that_fits(fields)[1])


@pytest.mark.parametrize("layers", ["c6 c6 c6", "s6/4 s6 s6", "c6 3*s6r", "c6 (c6 c6 c6-act)r c6 (s6 s6 s6-act)r"])
def test_so_it_is_where_layers_of_one_form_follow_each_other(layers):
    check_places(trace(resolve(f"{layers} gap fc")[1]))
