"""What is claimed, by which rule it is decided, and where methods and settings come from."""

from __future__ import annotations

from dynaprobe.study.records import Claim

SOURCE = "Kao (2019) J Neurophysiol 122:2504, doi:10.1152/jn.00467.2018, abstract"

CLAIMS = (
    Claim(
        "1",
        "Networks that reproduce the firing-rate motifs of single neurons may not reproduce those of the "
        "population.",
        "Supported when some cell of the grid reproduces single units (the whole interval of its normalised "
        "score lies at or above the bar) and fails as a population (the whole interval below the bar); opposed "
        "when at least one cell reproduces single units and every cell that does also reproduces the population; "
        "undecided otherwise. 0 is where surrogates of recorded neurons stand, 1 where other neurons of the same "
        "recording stand; intervals are Student's over seeds, Bonferroni-corrected over cells and levels. Rule, "
        "measures and bar are our choice.",
        SOURCE,
    ),
    Claim(
        "2",
        "Networks that reproduce features at both levels can do so by distinctly different dynamical mechanisms.",
        "Supported when at least three initial-condition and at least three input-driven networks reproduce both "
        "levels (single-unit and population scores at or above the bar of claim 1); opposed when at least three "
        "of one of these mechanisms do and none of at least six of the other; undecided otherwise. The mechanism "
        "is the joint verdict of two experiments on trials of the network's own task: the target taken away at "
        "the go cue, and the state of one target with the input of another; index 1 where the state suffices and "
        "decides, 0 where the input is needed and decides, thirds in between. Where a task hides the target from "
        "the go cue on, both experiments come out as 1 because they must; such networks count as "
        "initial-condition by their task. Rule and bars are our choice.",
        SOURCE,
    ),
    Claim(
        "3",
        "The network in which preparatory activity sets the initial state of the movement dynamics is more "
        "robust to input noise.",
        "Decided by the rank correlation of the mechanism index with robustness across networks: the end-point "
        "error under noise at all inputs throughout the trial less that without noise, mean over strengths, with "
        "the sign turned. Networks are ranked among those of the same activation and penalties, and compared as "
        "if their error without noise were alike. Supported when the 95 % interval lies above 0 and a "
        "permutation test says p <= 0.05, opposed when it lies below 0 with the same p, undecided otherwise. "
        "Noise in one epoch, and the correlation across seeds of one cell, are reported and do not decide. The "
        "task decides which mechanism its networks come to, so that the deciding correlation compares tasks as "
        "well as mechanisms, and p and interval, for which every network is an observation, speak of further "
        "networks on these tasks and not of further tasks; only the correlation across seeds of one cell keeps "
        "the task alike. The rule is our choice.",
        SOURCE,
    ),
    Claim(
        "4",
        "Its dynamics suffice to generalise to tasks it was not trained on: the target is switched or new.",
        "Asked of initial-condition networks, at least three: supported when the 95 % interval of the share of "
        "targets switched before the go cue that are reached (each seen as long as the network's task shows one) "
        "lies at or above its bar, and that of the direction error at places halfway between trained ones lies at "
        "or below half the angle to the nearest trained one (each place's error over its own such angle); opposed "
        "when either interval lies wholly on the other side; undecided otherwise. Early switches count together: "
        "those that leave the new target at least the shortest delay of the network's training, and those closer "
        "to the go cue than any such delay, are reported apart as well and do not decide. Whether they do better "
        "than networks of other mechanism is reported and does not decide. The rule is our choice.",
        SOURCE,
    ),
)

METHODS = (
    "jPCA: Churchland et al. (2012) Nature 487:51",
    "Alignment index: Elsayed et al. (2016) Nat Commun 7:13239",
    "Condition-independent signal: Kaufman et al. (2016) eNeuro 3(4)",
    "Tensor maximum entropy surrogates: Elsayed & Cunningham (2017) Nat Neurosci 20:1310",
    "Canonical correlation of networks and recordings: Sussillo et al. (2015) Nat Neurosci 18:1025",
    "Fixed points: Sussillo & Barak (2013) Neural Comput 25:626; Golub & Sussillo (2018) JOSS 3:1003",
    "Vanishing-gradient penalty: Pascanu, Mikolov & Bengio (2013) ICML",
)

CHOICES = (
    "From the public training code of the author's group: tanh and ReLU, number of units, time constant, step, "
    "noise of the state, initialisation, trained bias and initial state, inputs and outputs, kinematics, "
    "baseline, trials without delay, catch trials, the penalties on weights and on vanishing gradients, and "
    "1.9e-3 as one rate penalty.",
    "Our choice, where the paper could not be read: learning rate and its course, batch size, number of updates, "
    "clipping, the grid of rate penalties, number of seeds, noise of the input, the law of delays, the length of "
    "the movement epoch, and the score from which a network counts (fit.threshold).",
    "Our choice as well: how networks are rendered and compared (windows, kernel, number of PCs, surrogates, "
    "neurons parted in two) and the bar of claims 1 and 2 (reproduces).",
    "Our choice too: the variants of the task (when the target is seen, the law of delays), without which every "
    "network would work by one mechanism, and their grid; the probes, their strengths and times, how the two "
    "experiments make one index, and the rules of claims 2 to 4.",
    "Networks are trained and compared on the directions of the recording, which take the place of "
    "task.n_targets; compared at the median delay of the recording, which takes the place of "
    "task.analysis_delay_ms.",
)
