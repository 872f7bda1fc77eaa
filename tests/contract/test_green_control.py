def test_an_unchanged_folder_is_green(folder, workers):
    ran = folder.run(workers)
    ran.require(0, "pass", one="pass", two="pass")
    assert ran.verdict["coverage"] == {"complete": True, "left_out": []}
    assert "verdict: pass" in ran.output
