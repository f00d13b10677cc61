"""rollback: what it says of objects that somebody wrote over, of which there may be many."""

from tests.cli.conftest import Project


def test_the_first_are_named_and_the_others_counted(project: Project) -> None:
    project.files(**{f"photo-{n:02}": f"photo {n}" for n in range(25)})
    assert project.run("migrate").status == 0
    for key in project.objects():
        project.server.client().put_object(Bucket=project.bucket, Key=key, Body=b"theirs")
    ended = project.run("rollback", "--yes")
    assert ended.status == 1
    assert "25 objects left alone" in ended.out
    assert ended.out.count("somebody put something else there since") == 20
    assert "  and 5 more: the table `left_alone` of the ledger has all\n" in ended.out
    assert set(project.objects().values()) == {b"theirs"}
