"""Tests that take ten seconds and more and have a quicker sibling: `python -m pytest -m slow`.

The default suite leaves them out, so that it ends in minutes. Naming one of them runs it, too.
"""

SLOW = frozenset(
    {
        "claims/test_assumptions.py::test_the_order_of_ablations_does_not_change_what_is_seen_inside",
        "claims/test_assumptions.py::test_a_true_path_holds_whatever_the_rest_is_worth[contrast]",
        "claims/test_seed.py::test_a_circuit_with_another_name_and_description_has_the_same_numbers",
        "handed/test_handed_to_the_gate.py::test_workers_build_it_too_and_give_the_same_evidence",
        (
            "plugin/test_live.py::test_where_pytest_names_it_or_the_terminal_cannot_nothing_is_told"
            "[options1-dumb]"
        ),
        (
            "plugin/test_option_match.py::"
            "test_a_circuit_is_matched_with_what_its_baseline_was_recorded_from_alone"
        ),
        "plugin/test_others_in_the_run.py::test_a_worker_that_dies_once_leaves_its_claim_undecided",
        "plugin/test_xdist.py::test_a_bad_specification_ends_with_status_2_and_is_marked",
        "plugin/test_xdist.py::test_failures_and_deselection_in_workers_reach_the_controller",
        "plugin/test_xdist.py::test_the_controller_writes_baselines",
        (
            "prune/test_jobs.py::test_a_job_comes_to_the_bytes_that_it_comes_to_in_this_process"
            "[--cluster local]"
        ),
        (
            "prune/test_prune_command.py::test_a_circuit_is_calibrated_on_request_and_the_specification_"
            "says_how"
        ),
        "prune/test_prune_command.py::test_backups_are_searched_with_the_found_nodes_forbidden",
        "prune/test_prune_command.py::test_other_methods_lead_to_the_known_circuit_too[greedy]",
        "prune/test_prune_command.py::test_what_others_set_in_the_process_changes_no_byte",
        (
            "prune/test_search.py::test_a_circuit_is_pruned_again_once_a_seed_and_nothing_where_there_"
            "is_none"
        ),
        "prune/test_search.py::test_the_known_circuit_is_found_to_the_node[bracket_counter]",
        "prune/test_search.py::test_the_known_circuit_is_found_to_the_node[redundant_quote]",
        "prune/test_search.py::test_nothing_repairs_a_circuit_whose_node_is_forbidden",
        (
            "spec/test_spec_properties.py::test_comments_spaces_and_the_order_of_keys_never_change_the_"
            "digest"
        ),
        "train/test_distributed.py::test_two_processes_make_the_model_that_one_makes[fsdp]",
    }
)
