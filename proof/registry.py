"""All experiments, in the order of the page."""

from __future__ import annotations

from proof import (
    abandoned_replays,
    client_aborts,
    clock_skew,
    crowded_log,
    database_link,
    disk_faults,
    failover,
    floods,
    key_rotation,
    key_schedule,
    kill_postgres,
    kill_the_service,
    lost_answers,
    malformed_input,
    many_endings,
    mixed_schedule,
    races,
    revocation_races,
    rollout,
    slow_clients,
    slow_database,
)
from proof.experiment import Experiment
from proof.honest import experiment as honest

EXPERIMENTS: tuple[Experiment, ...] = (
    *mixed_schedule.EXPERIMENTS,
    *kill_the_service.EXPERIMENTS,
    *kill_postgres.EXPERIMENTS,
    *failover.EXPERIMENTS,
    *slow_database.EXPERIMENTS,
    *client_aborts.EXPERIMENTS,
    *database_link.EXPERIMENTS,
    *lost_answers.EXPERIMENTS,
    *races.EXPERIMENTS,
    *honest.EXPERIMENTS,
    *revocation_races.EXPERIMENTS,
    *clock_skew.EXPERIMENTS,
    *key_rotation.EXPERIMENTS,
    *key_schedule.EXPERIMENTS,
    *disk_faults.EXPERIMENTS,
    *rollout.EXPERIMENTS,
    *floods.EXPERIMENTS,
    *slow_clients.EXPERIMENTS,
    *malformed_input.EXPERIMENTS,
    *many_endings.EXPERIMENTS,
    *crowded_log.EXPERIMENTS,
    *abandoned_replays.EXPERIMENTS,
)
