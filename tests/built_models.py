"""Models whose K-state heads are built by hand from tables, so that it is known which of them the answers need."""

from itertools import permutations

import torch

from remanent import ModelConfig, SequenceModel

S3 = torch.tensor(list(permutations(range(3))))
"""The elements of S3 as tables, in the order of `GroupWord`."""
FLIP = torch.tensor([[0, 1], [1, 0]])
"""The tables of the letters 0 and 1 of parity."""


def built(tables, votes=None, *, answers=None, **options):
    """A model of tokens whose heads have tables (V, H, K), and which answers what has the most votes.

    `votes` gives, for each answer, the (head, tracer, state) that vote for it; with None, the readout is random.
    """
    tables = torch.as_tensor(tables)
    V, H, K = tables.shape
    R = options.get("num_tracers") or K
    answers = answers or len(votes)
    sizes = {"num_states": K, "state_size": H * R * K, "hidden_size": answers}
    plain = {"unit": "mru", "norm": "none", "mlp": "none", "head": "every", "num_layers": 1, "encoder": "table"}
    torch.manual_seed(0)
    model = SequenceModel(ModelConfig(V, answers, **plain | sizes | options)).double().eval()
    unit, project = model.blocks[0].layer.units[0], model.blocks[0].project
    with torch.no_grad():
        unit.weight_ih_l0[:, :V] = torch.nn.functional.one_hot(tables, K).permute(1, 2, 3, 0).reshape(H * K * K, V)
        if votes is not None:
            model.head.weight.copy_(torch.eye(answers))
            for parameter in (project.weight, project.bias, model.head.bias):
                parameter.zero_()
            for answer, places in enumerate(votes):
                for head, tracer, state in places:
                    project.weight[answer, (head * R + tracer) * K + state] = 1
    return model


def flipping(dtype=torch.float64):
    """One head of two states, which a 1 flips and a 0 holds; the model answers with the state, which is the parity."""
    return built(FLIP[:, None], [[(0, 0, 0)], [(0, 0, 1)]], num_tracers=1).to(dtype)


def wandering(letters, heads, K, seed=0):
    """The tables of heads that each letter permutes at random, (V, H, K)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.stack(
        [torch.stack([torch.randperm(K, generator=generator) for _ in range(heads)]) for _ in range(letters)]
    )
