"""What was tried against the fence, verb by verb: what an agent types in its slot, and what is to come of it.

The scripts run in a slot with the agent's environment. ``$MAIN`` is the user's checkout, ``$OTHER`` another
worktree of his, ``$REMOTE`` what he pushes to, ``$REAL`` the path of the real git, ``$TMP`` an empty folder.
``contracts/fence.md`` is this table in words.
"""

# ruff: noqa: E501 - what was typed stands on one line

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Expected = Literal["works", "refused", "gap"]


@dataclass(frozen=True)
class Case:
    """One thing that was tried. ``note`` says, for a gap, what really happens."""

    expected: Expected
    shown: str
    before: str = ""
    note: str = ""

    @property
    def script(self) -> str:
        """What a shell runs."""
        return f"set -e\n{self.before}\n{self.shown}\n"


def works(*shown: str, before: str = "") -> list[Case]:
    return [Case("works", text, before) for text in shown]


def refused(*shown: str, before: str = "") -> list[Case]:
    return [Case("refused", text, before) for text in shown]


def gap(shown: str, note: str, before: str = "") -> Case:
    return Case("gap", shown, before, note)


EDIT = "echo more >>a.txt"
NEW = "echo new >new.txt"
TWO = "echo 1 >>a.txt; git commit -qam one; echo 2 >>b.txt; git commit -qam two"
SIDE = "base=$(git rev-parse HEAD)"
ELSEWHERE = 'git init -q -b trunk "$TMP/o"; cd "$TMP/o"; git config user.name A; git config user.email a@example.invalid'
CLONED = 'git clone -q "$MAIN" "$TMP/c"; cd "$TMP/c"; git commit -q --allow-empty -m theirs'

OWN_WORK = [
    *works("git add new.txt", "git add -A && git commit -q -m new", before=NEW),
    *works("git commit -q -a -m more", "git commit -q -a -m more --no-verify", before=EDIT),
    *works("git commit -q -a --amend --no-edit", "git commit -q -a --amend -m other --reset-author", before=EDIT),
    *works("git reset -q --hard HEAD", "git restore a.txt", "git checkout -- a.txt", before=EDIT),
    *works("git restore --staged a.txt", "git reset -q", before=f"{EDIT}; git add a.txt"),
    *works("git reset -q --hard HEAD~1", "git reset -q --soft HEAD~2", "git revert --no-edit HEAD", before=TWO),
    *works("git rm -q a.txt && git commit -q -m gone", "git mv a.txt c.txt && git commit -q -m moved"),
    *works(
        "git rebase -q main",
        "git rebase -q --autosquash -i HEAD~2",
        "git rebase -q -x 'git status' HEAD~2",
        "git rebase -q --onto HEAD~2 HEAD~1",
        before=f"export GIT_SEQUENCE_EDITOR=:; {TWO}",
    ),
    *works(
        "git rebase -q -i HEAD~2",
        before=f"{TWO}; export GIT_SEQUENCE_EDITOR=\"sed -i -e 1s/pick/reword/\" GIT_EDITOR='sed -i s/one/uno/'",
    ),
    *works(
        "git rebase other || git rebase --abort",
        "git merge other || git merge --abort",
        "git cherry-pick other || git cherry-pick --abort",
        before="echo clash >other.txt; git add .; git commit -qm clash",
    ),
    *works("git rebase -q --autostash HEAD~1", before=f"{TWO}; echo 3 >>b.txt"),
    *works("git merge -q --no-edit other", "git merge -q --squash other && git commit -q -m squashed"),
    *works("git cherry-pick other", "git cherry-pick -n other && git commit -q -m picked"),
    *works("git format-patch -q -o $TMP other~1..other && git am -q $TMP/*.patch"),
    *works("git diff HEAD~1 HEAD | git apply -R --index && git commit -q -m undone", before=TWO),
    *works(
        "git bisect start HEAD HEAD~2 && git bisect good && git bisect reset",
        "git bisect start HEAD HEAD~2 && git bisect run true && git bisect reset",
        before=TWO,
    ),
    *works("git checkout -q --detach && git checkout -q -", "git switch -q --detach main && git switch -q -"),
    *works("git checkout -q other -- other.txt", "git checkout -q HEAD~1 && git commit -q --allow-empty -m x", before=TWO),
    *works("git checkout -q -B stratum/f/t HEAD~1", "git update-ref refs/heads/stratum/f/t HEAD~1", before=TWO),
    *works("git update-ref refs/worktree/mine HEAD", "git update-ref ORIG_HEAD HEAD", "git symbolic-ref HEAD"),
    *works("git clean -q -fdx", "git stash create", before=f"{NEW}; {EDIT}"),
    *works("git stash list", "git stash show", "git stash apply -q"),
    *works("git status", "git log --oneline -5", "git diff", "git show HEAD", "git blame a.txt", "git grep -n a"),
    *works("git branch -a -v", "git branch --list 'stratum/*'", "git branch --show-current", "git branch --contains HEAD"),
    *works("git tag -l", "git tag --contains HEAD~1", "git describe --always", "git reflog", "git notes list"),
    *works("git stash --help >/dev/null || true", "git worktree -h >/dev/null || true"),
    *works("git remote -v", "git remote get-url origin", "git worktree list", "git submodule status", "git replace -l"),
    *works("git config --get user.name", "git config -l", "git config user.email", "git config --get-regexp user"),
    *works("git -c user.name=Me -c user.email=me@example.invalid commit -q --allow-empty -m me"),
    *works("git config user.name 'The User'"),
    *works("git config -f .gitmodules submodule.x.path x", "git config --file $TMP/own.ini a.b c"),
    *works("git fetch -q origin main", "git fetch -q $REMOTE other", "git pull -q --no-rebase origin other"),
    *works("git -C $MAIN log -1", "git -C $MAIN status", "cd $MAIN && git diff", "git --git-dir=$MAIN/.git show -s"),
    *works("git c -q --allow-empty -m alias", "git l", before="export GIT_CONFIG_GLOBAL=$TMP/g; git config -f $TMP/g alias.c commit; git config -f $TMP/g alias.l '!git log -1'; git config -f $TMP/g user.name A; git config -f $TMP/g user.email a@x"),
    *works("git update-index --chmod=+x a.txt", "git read-tree HEAD", "git write-tree", "git hash-object -w a.txt"),
    *works("GIT_INDEX_FILE=$TMP/index git read-tree HEAD", "git archive HEAD | tar -t", "git bundle create $TMP/b HEAD"),
]  # fmt: skip

OTHER_REPOSITORIES = [
    *works("git init -q $TMP/x && git -C $TMP/x commit -q --allow-empty -m x", "git init -q --bare $TMP/x.git"),
    *works("git clone -q $MAIN $TMP/x && git -C $TMP/x checkout -q -b own"),
    *works(
        "git commit -q --allow-empty -m x && git tag v9 && git branch b && git branch -D b && git checkout -q -b c",
        "git commit -q --allow-empty -m x && echo y >y && git add y && git stash -q && git stash pop -q",
        "git config core.hooksPath .hooks && git config --unset core.hooksPath && git remote add origin $REMOTE",
        "git commit -q --allow-empty -m x && git worktree add -q $TMP/w && git worktree remove $TMP/w",
        "git commit -q --allow-empty -m x && git gc -q && git pack-refs --all && git reflog expire --all",
        "git init -q --bare $TMP/b.git && git commit -q --allow-empty -m x && git push -q $TMP/b.git HEAD:refs/heads/x",
        "git fetch -q $MAIN main:refs/heads/theirs",
        "git symbolic-ref HEAD refs/heads/x && git sparse-checkout set d && git sparse-checkout list",
        before=ELSEWHERE,
    ),
    *works("git init -q nested && cd nested && git config a.b c && git commit -q --allow-empty -m x && git tag v9"),
    *works("HOME=$TMP git config --global a.b c", "GIT_CONFIG_GLOBAL=$TMP/g git config --global a.b c"),
]  # fmt: skip

REFUSED_HERE = [
    *refused("git stash", "git stash push -m x", "git stash -u", "git stash save x", "git stash -- a.txt", before=EDIT),
    *refused("git stash pop", "git stash drop", "git stash clear", "git stash branch x"),
    *refused("git stash store -m x $(git stash create)", before=EDIT),
    *refused(
        "git update-ref refs/heads/main HEAD",
        "git update-ref refs/heads/new HEAD",
        "git update-ref -d refs/heads/other",
        "git update-ref -d refs/heads/stratum/f/t",
        "git update-ref refs/stratum/flows/x HEAD",
        "git update-ref refs/remotes/origin/main HEAD",
        "git update-ref main-worktree/HEAD HEAD",
        "git update-ref worktrees/other/HEAD HEAD",
        "git update-ref refs/stash HEAD",
        "printf 'start\\nupdate refs/heads/main %s\\ncommit\\n' $(git rev-parse HEAD) | git update-ref --stdin",
        "git update-ref --no-deref lower HEAD",
    ),
    *refused("git symbolic-ref refs/heads/new refs/heads/main", "git symbolic-ref -d refs/heads/other"),
    *refused("git symbolic-ref refs/heads/stratum/f/t refs/heads/main"),
    *refused(
        "git branch new",
        "git branch new HEAD~0",
        "git branch -f main HEAD",
        "git branch -D other",
        "git branch -d other",
        "git branch -m other renamed",
        "git branch -M main",
        "git branch -c copied",
        "git branch -C other copied",
        "git branch --copy copied",
        "git branch -u origin/main",
        "git branch --set-upstream-to=origin/main",
        "git branch --unset-upstream other",
        "git branch --edit-description",
        "git branch -qf other HEAD",
    ),
    *refused(
        "git checkout -b new",
        "git checkout -qb new",
        "git checkout -B other",
        "git checkout --orphan new",
        "git checkout -t origin/far",
        "git checkout far",
        "git switch -c new",
        "git switch -C other",
        "git switch --create new",
        "git switch --orphan new",
        "git switch far --guess",
    ),
    *refused("git commit -q --allow-empty -m x", before="git checkout -q other"),
    *refused("git commit -q --allow-empty -m x", before="git symbolic-ref HEAD refs/heads/main"),
    *refused("git commit -q --allow-empty -m x", before="git symbolic-ref HEAD refs/heads/unborn"),
    *refused("git tag v2", "git tag -a v2 -m x", "git tag -f v1", "git tag -d v1"),
    *refused(
        "git push",
        "git push origin HEAD",
        "git push --no-verify origin HEAD:refs/heads/x",
        "git push $REMOTE HEAD:refs/heads/x",
        "git push $MAIN HEAD:refs/heads/x",
        "git push . HEAD:refs/heads/x",
        "git send-pack $REMOTE HEAD:refs/heads/x",
    ),
    *refused(
        "git fetch",
        "git fetch origin",
        "git fetch --all",
        "git fetch origin main:refs/heads/new",
        "git fetch origin +refs/heads/*:refs/remotes/origin/*",
        "git fetch --tags origin 'refs/tags/*:refs/tags/*'",
        "git fetch --depth=1 origin main",
        "git fetch --prune origin",
        "git pull",
        "git remote update",
        "git fetch --refmap='+refs/heads/*:refs/heads/*' origin main",
    ),
    *refused(
        "git config user.name Mallory",
        "git config --local core.hooksPath /dev/null",
        "git config --add a.b c",
        "git config --unset user.name",
        "git config --worktree a.b c",
        "git config --rename-section user users",
        "git config --remove-section user",
        "git config --replace-all user.name x",
        "git config --global a.b c",
        "git config --global --edit",
        "git config --system a.b c",
        "git config -f $MAIN/.git/config a.b c",
        "git config -f $(git rev-parse --git-common-dir)/config a.b c",
        "git config --file $HOME/.gitconfig a.b c",
        "GIT_CONFIG=$MAIN/.git/config git config a.b c",
    ),
    *refused("git config -f link a.b c", before="ln -s $MAIN/.git/config link"),
    *refused(
        "git worktree add $TMP/w",
        "git worktree add -b new $TMP/w",
        "git worktree remove $OTHER",
        "git worktree remove --force $OTHER",
        "git worktree prune",
        "git worktree move $OTHER $TMP/w",
        "git worktree lock $OTHER",
        "git worktree unlock .",
        "git worktree repair",
    ),
    *refused(
        "git gc",
        "git gc --prune=now",
        "git prune",
        "git repack -d",
        "git repack -a -d",
        "git pack-refs --all",
        "git prune-packed",
        "git maintenance run",
        "git maintenance start",
        "git reflog expire --expire=now --all",
        "git reflog delete stash@{0}",
        "git filter-branch -f --msg-filter cat -- --all",
        "git replace HEAD HEAD~1",
        "git notes add -m x",
        "git commit-graph write",
        "git multi-pack-index write",
        "git update-server-info",
        before=TWO,
    ),
    *refused(
        "git remote add up $REMOTE",
        "git remote remove origin",
        "git remote rename origin up",
        "git remote set-url origin /nowhere",
        "git remote prune origin",
        "git remote set-head origin -d",
    ),
    *refused("git sparse-checkout set dir", "git sparse-checkout init", "git sparse-checkout disable"),
    *refused("git submodule add $REMOTE sub", "git submodule init", "git submodule deinit --all", "git submodule sync"),
    *refused("git submodule update --init", before="printf '[submodule \"s\"]\\n\\tpath = s\\n\\turl = /x\\n' >.gitmodules"),
    *refused("git init", "git init .", "git init --separate-git-dir=$TMP/g .", "git init $MAIN"),
    *refused("git fast-import --quiet <$TMP/in", before="printf 'reset refs/heads/new\nfrom refs/heads/main^0\n\n' >$TMP/in"),
    *refused("git bisect run sh -c 'git config a.b c || exit 255'", before=f"{TWO}; git bisect start HEAD HEAD~2"),
]  # fmt: skip

REFUSED_ELSEWHERE = [
    *refused(
        "git -C $MAIN commit --allow-empty -m x",
        "git -C $MAIN checkout --detach",
        "git -C $MAIN checkout other",
        "git -C $MAIN switch -c new",
        "git -C $MAIN reset --hard HEAD",
        "git -C $MAIN add -A",
        "git -C $MAIN rm -q a.txt",
        "git -C $MAIN stash",
        "git -C $MAIN merge --ff-only stratum/f/t",
        "git -C $MAIN branch new",
        "git -C $MAIN tag v2",
        "git -C $MAIN update-ref HEAD stratum/f/t",
        "git -C $MAIN update-ref refs/heads/stratum/f/t HEAD",
        "git -C $MAIN symbolic-ref HEAD refs/heads/other",
        "git -C $MAIN config user.name x",
        "git -C $MAIN clean -fdx",
        "git -C $MAIN restore a.txt",
        "git -C $MAIN pull origin main",
        "git -C $MAIN fetch origin main",
        "git -C $MAIN gc",
        "git -C $MAIN init",
        "git -C $MAIN update-index --refresh",
        "git -C $MAIN read-tree other",
        "git -C $MAIN apply $TMP/none",
        "git -C $OTHER commit --allow-empty -m x",
        "git -C $OTHER checkout --detach",
        "git --git-dir=$MAIN/.git update-ref refs/heads/new HEAD",
        "git --git-dir=$MAIN/.git --work-tree=$MAIN checkout other",
        "git --git-dir $MAIN/.git commit --allow-empty -m x",
        "git --git-dir=$MAIN/.git symbolic-ref HEAD refs/heads/other",
        "git --git-dir=$MAIN/.git init",
        "git --work-tree=$MAIN checkout -f HEAD -- .",
        "GIT_WORK_TREE=$MAIN git checkout -f HEAD -- .",
        "GIT_DIR=$MAIN/.git git commit --allow-empty -m x",
        "GIT_DIR=$MAIN/.git GIT_WORK_TREE=$MAIN git checkout --detach",
        "GIT_DIR=$MAIN/.git git tag v2",
        "GIT_INDEX_FILE=$MAIN/.git/index git add a.txt",
        "GIT_INDEX_FILE=$MAIN/.git/index git read-tree other",
        "cd $MAIN && git commit --allow-empty -m x",
        "cd $MAIN && git checkout --detach",
        "cd $MAIN && git add -A",
        "cd $MAIN/.git && git update-ref refs/heads/new HEAD",
        "cd $MAIN/.git && git symbolic-ref HEAD refs/heads/other",
        "cd $OTHER && git add -A",
        "cd $MAIN/dir && git mv c.txt d.txt",
        before=f"{TWO}; {EDIT}",
    ),
    *refused("cd link/dir && git rm -q c.txt", "git -C link checkout --detach", before="ln -s $MAIN link"),
    *refused("cd $TMP/x && git tag v2", "cd $TMP/x && git checkout --detach", before="mkdir $TMP/x; ln -s $MAIN/.git $TMP/x/.git"),
    *refused("cd $TMP/x && git tag v2", "cd $TMP/x && git commit --allow-empty -m x", before="mkdir $TMP/x; echo gitdir: $MAIN/.git >$TMP/x/.git"),
    *refused("GIT_DIR=$TMP/g GIT_COMMON_DIR=$MAIN/.git git config a.b c", before="mkdir $TMP/g; cp $MAIN/.git/HEAD $TMP/g"),
    *refused(
        "git push -q $MAIN HEAD:refs/heads/x",
        "git push -q origin HEAD:refs/heads/x",
        "git push -q",
        "git push -q file://$MAIN HEAD:refs/heads/x",
        "git push -q --repo=$MAIN HEAD:refs/heads/x",
        "git push -q $OTHER HEAD:refs/heads/x",
        "git send-pack $MAIN HEAD:refs/heads/x",
        "cd / && git -C $TMP/c push -q origin HEAD:refs/heads/x",
        before=f"export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@x GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@x; {CLONED}",
    ),
]  # fmt: skip

WAYS_AROUND = [
    *refused(
        "git -c core.hooksPath=/dev/null tag v2",
        "git -c core.hooksPath= tag v2",
        "git -c CORE.HooksPath=/dev/null update-ref refs/heads/main HEAD~1",
        "git --config-env=core.hooksPath=NONE tag v2",
        "git --config-env core.hooksPath=NONE tag v2",
        "git -c include.path=$TMP/g tag v2",
        "git --namespace=x update-ref refs/heads/a HEAD",
        "GIT_CONFIG_COUNT=0 git tag v2",
        "GIT_CONFIG_KEY_0=a.b GIT_CONFIG_KEY_1=a.b git tag v2",
        "GIT_CONFIG_KEY_1=includeIf.gitdir:/x.path git tag v2",
        "GIT_CONFIG_COUNT=4 GIT_CONFIG_KEY_3=core.hooksPath GIT_CONFIG_VALUE_3=/dev/null git tag v2",
        "GIT_CONFIG_VALUE_1=/dev/null git -C $MAIN update-ref HEAD stratum/f/t",
        "GIT_CONFIG_VALUE_1=/dev/null git tag v2",
        "git -c core.worktree=$MAIN -C $MAIN checkout -f other",
        "GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.hooksPath GIT_CONFIG_VALUE_0=/dev/null git tag v2",
        "GIT_CONFIG_PARAMETERS=\"'core.hooksPath'='/dev/null'\" git tag v2",
        "env -u GIT_CONFIG_COUNT git tag v2",
        "env -u STRATUM_FENCE_AT git tag v2",
        "env -u STRATUM_FENCE_REF git commit --allow-empty -m x",
        "env -u STRATUM_FENCE_OWN git commit --allow-empty -m x",
        "git -c core.hooksPath=/dev/null -C $MAIN update-ref HEAD stratum/f/t",
        "git -c core.hooksPath=/dev/null -C $MAIN commit --allow-empty -m x",
        "$REAL tag v2",
        "$REAL stash",
        "$REAL update-ref refs/heads/main HEAD~1",
        "$REAL branch -f other HEAD",
        "$REAL checkout -b new",
        "$REAL -C $MAIN update-ref refs/heads/new HEAD",
        "$REAL -C $MAIN tag v2",
        "$REAL push origin HEAD:refs/heads/x",
        "$REAL pack-refs --all",
        "$REAL worktree add -b new $TMP/w",
        "PATH=/usr/bin:/bin git tag v2",
        before=f"export NONE=/dev/null; printf '[core]\\n\\thooksPath = /dev/null\\n' >$TMP/g; {TWO}; {EDIT}",
    ),
    *refused(
        "git -c alias.x='config a.b c' x",
        "git -c alias.x='!git config a.b c' x",
        "git -c alias.x='!sh -c \"git config a.b c\"' x",
        "git -c alias.x=y -c alias.y='worktree prune' x",
        "git -c alias.x='-c core.hooksPath=/dev/null tag v2' x",
        "git -c alias.x='\"config\" a.b c' x",
        "git -c alias.x='conf\\ig a.b c' x",
        "git -c alias.config=status config a.b c",
        "git -c alias.prune=status prune",
        "git -C . config a.b c",
        "git --no-pager config a.b c",
        "git -P -c x.y=z config a.b c",
        "git --git-dir=$(git rev-parse --git-dir) config a.b c",
        "git rebase -x 'git config a.b c' HEAD~1",
        "git rebase --exec='git worktree prune' HEAD~1",
        "sh -c 'git config a.b c'",
        "env git config a.b c",
        "find . -maxdepth 1 -name a.txt -exec git config a.b {} +",
        before=TWO,
    ),
]  # fmt: skip

NOT_UNDERSTOOD = works("! git -c help.autocorrect=1 confg a.b c", "! git -c help.autocorrect=1 worktre prune")

GAPS = [
    gap("$REAL config a.b c", "the setting is written: hooks do not hear of settings"),
    gap("$REAL branch -c copied", "git 2.39 copies a branch without a transaction"),
    gap("$REAL symbolic-ref refs/heads/new refs/heads/main", "git before 2.46 moves symbolic refs unheard"),
    gap("$REAL -C $MAIN symbolic-ref HEAD refs/heads/other", "the user's HEAD names another branch"),
    gap("$REAL -C $MAIN add a.txt", "the user's index changes", "echo more >>$MAIN/a.txt"),
    gap("$REAL -C $MAIN checkout -q other", "the user's files, index and HEAD change"),
    gap("$REAL -C $MAIN commit -q --allow-empty -m x", "it is refused; the user's index is written anew, and COMMIT_EDITMSG"),
    gap("$REAL -C $MAIN checkout -q --detach", "it is refused; the user's index is written anew"),
    gap("$REAL worktree remove --force $OTHER", "the user's worktree is gone"),
    gap("$REAL push -q --no-verify origin HEAD:refs/heads/x", "it arrives at the remote; --no-verify skips the hook"),
    gap("$REAL stash drop -q || $REAL reflog delete --updateref stash@{0}", "the reflog of the stash is no ref"),
    gap("env -i PATH=/usr/bin:/bin $REAL tag v2", "nothing of the fence is left"),
    gap("cd $TMP/c && $REAL push -q $MAIN HEAD:refs/heads/x", "git takes the settings away from the other side of a push", "git clone -q $MAIN $TMP/c"),
    gap("git checkout-index -a -f --prefix=$MAIN/", "files are written, as `cp` would", EDIT),
    gap("echo $(git rev-parse HEAD) >$MAIN/.git/refs/heads/new", "a file is written; no git is asked"),
    gap("GIT_SEQUENCE_EDITOR='git config a.b c;:' git rebase -q -i HEAD~1", "git puts its own programs first in PATH for what it starts: editors, filters, `submodule foreach`; hooks still hold there", TWO),
    gap("STRATUM_FENCE_REF=refs/heads/other git update-ref refs/heads/other HEAD", "the fence believes the environment", TWO),
]  # fmt: skip

CASES = [
    *OWN_WORK,
    *OTHER_REPOSITORIES,
    *REFUSED_HERE,
    *REFUSED_ELSEWHERE,
    *WAYS_AROUND,
    *NOT_UNDERSTOOD,
    *GAPS,
]

CLONE = [
    *works(
        "git stash push -q",
        "git tag v2",
        "git branch new",
        "git checkout -q -b new",
        "git config a.b c",
        "git remote add up $REMOTE",
        "git worktree add -q $TMP/w",
        "git notes add -m x",
        "git gc -q --prune=now",
        "git repack -q -a -d",
        "git prune --expire=now",
        "git update-ref refs/heads/main HEAD",
        before=EDIT,
    ),
    *works(
        "env -i PATH=/usr/bin:/bin $REAL gc -q --prune=now",
        "env -i PATH=/usr/bin:/bin $REAL prune --expire=now",
        "env -i PATH=/usr/bin:/bin $REAL tag v2",
        "env -i PATH=/usr/bin:/bin $REAL stash clear",
        "env -i PATH=/usr/bin:/bin $REAL config a.b c",
        "env -i PATH=/usr/bin:/bin $REAL update-ref refs/heads/main HEAD",
        "env -i PATH=/usr/bin:/bin $REAL branch -c copied",
        "echo $(git rev-parse HEAD) >.git/refs/heads/new",
    ),
    *refused(
        "git -C $MAIN tag v2",
        "git -C $MAIN commit --allow-empty -m x",
        "git -C $MAIN checkout --detach",
        "cd $MAIN && git add -A",
        "git --git-dir=$MAIN/.git config a.b c",
        "git push -q $MAIN HEAD:refs/heads/x",
        "git config --global a.b c",
        "$REAL -C $MAIN tag v2",
        "git -C $MAIN gc --prune=now",
        before=f"{EDIT}; git commit -q -a -m more",
    ),
    gap("env -i PATH=/usr/bin:/bin $REAL -C $MAIN tag v2", "whoever knows the way can go there"),
    gap("$REAL push -q $MAIN HEAD:refs/heads/x", "git takes the settings away from the other side of a push"),
]  # fmt: skip
"""The same with ``isolation: branch``: everything in the private clone is the agent's own."""
