# States of slots. Each section is what an agent does in its slot; those above the first are for all.

exec 2>"$HOME/evidence/$STRATUM_TASK.err"
[ "$STRATUM_ATTEMPT" = 1 ] || exit 1
E="$HOME/evidence/$STRATUM_TASK"; mkdir -p "$E"; : > "$E/objects"
kept() { for one in "$@"; do git rev-parse "$one" >> "$E/objects"; done; }
kept_text() { git --git-dir="$HOME/scratch.git" hash-object "$1" >> "$E/objects"; }
own() {
    git symbolic-ref HEAD 2>/dev/null \
        || git for-each-ref --format='%(refname)' "refs/heads/stratum/*/$STRATUM_TASK"
}
stashed() { git stash list --format='%H %gs' | grep "/$STRATUM_TASK:" | cut -c -40; }
inside() { (cd "$1" && echo in > in-the-repository && git add in-the-repository && git commit -qm inner); }
fork() {
    echo theirs > a.txt; git commit -qam theirs; git branch -f other-$STRATUM_TASK; kept HEAD
    git reset -q --hard HEAD~1; echo ours > a.txt; git commit -qam ours; kept HEAD
}

### committed
echo c > c
git add c
git commit -qm c
kept HEAD

### staged
echo s > s
git add s
kept :s

### unstaged
echo u >> a.txt

### untracked
mkdir -p deep/er
echo u > deep/er/u
seq 100000 > big

### removed
rm a.txt
git rm -q b.txt

### nothing
true

### staged-overwritten
echo 1 > a.txt
git add a.txt
kept :a.txt
echo 2 > a.txt

### staged-and-gone
echo 1 > n
git add n
kept :n
rm n

### staged-and-undone
echo 1 > a.txt
git add a.txt
kept :a.txt
git show HEAD:a.txt > a.txt

### staged-mode
echo 1 > n
chmod +x n
git add n
kept :n
echo 2 > n
chmod -x n

### intent-to-add
echo n > n
git add -N n

### mid-merge
fork
git merge -q other

### mid-merge-half-solved
fork
git merge -q other
echo solved > a.txt
git add a.txt
kept :a.txt
echo no > a.txt

### mid-rebase
fork
kept HEAD
git rebase -q other

### mid-rebase-autostash
fork
kept HEAD
echo dirt >> b.txt
kept_text b.txt
git rebase -q --autostash other

### mid-rebase-stopped
for n in 1 2 3; do echo $n > n; git add n; git commit -qm $n; kept HEAD; done
GIT_SEQUENCE_EDITOR='sed -i 1s/pick/edit/' git rebase -q -i HEAD~2; echo more > more

### mid-cherry-pick
fork
git cherry-pick other

### mid-revert
echo 1 > a.txt
git commit -qam 1
echo 2 > a.txt
git commit -qam 2
git revert --no-edit HEAD~1

### mid-am
fork; git format-patch -q --stdout HEAD~1..other | git am -q -3; kept_text "$(git rev-parse --git-dir)/rebase-apply/patch"

### mid-bisect
echo 1 > n
git add n
git commit -qm 1
kept HEAD
git bisect start -q HEAD HEAD~1

### detached
git checkout -q --detach
echo d > d
git add d
git commit -qm d
kept HEAD
echo e > e

### amended
echo 1 > n
git add n
git commit -qm 1
kept HEAD
echo 2 > n
git commit -qa --amend -m 2
kept HEAD

### reset
echo 1 > n
git add n
git commit -qm 1
kept HEAD
git reset -q --hard HEAD~1

### reset-to-nothing
echo 1 > n
git add n
git commit -qm 1
kept HEAD
git reset -q --hard HEAD~2
echo w > w

### switched
echo 1 > n
git add n
git commit -qm 1
kept HEAD
git checkout -q -b $STRATUM_TASK-b HEAD~1
echo 2 > m
git add m
git commit -qm 2
kept HEAD

### switched-and-deleted
git checkout -q -b gone
echo 2 > m
git add m
git commit -qm 2
kept HEAD
git checkout -q -
git branch -qD gone

### branch-moved
echo 1 > n
git add n
git commit -qm 1
kept HEAD
git checkout -q --detach HEAD~1
b=$(own)
git commit -q --allow-empty -m 3
git update-ref $b HEAD
kept HEAD
git checkout -q --detach HEAD~1

### branch-deleted
b=$(own)
echo 1 > n
git add n
git commit -qm 1
kept HEAD
git checkout -q --detach HEAD~1
git update-ref -d $b

### orphan
echo 1 > n
git add n
git commit -qm 1
kept HEAD
git checkout -q --orphan new-$STRATUM_TASK
echo o > o

### stash
echo s > a.txt
git stash -q
s=$(stashed)
kept $s $s:a.txt

### stash-untracked
echo s > new
git stash -qu
s=$(stashed)
kept $s $s^3:new
echo t > t

### stash-detached
git checkout -q --detach
echo s > a.txt
git stash -q
kept $(git stash list --format='%H %gs' | grep '(no branch)' | cut -c -40)

### assume-unchanged
git update-index --assume-unchanged a.txt
echo hidden > a.txt

### skip-worktree
git update-index --skip-worktree a.txt
echo hidden > a.txt

### names
printf 1 > "$(printf 'a\nb')"
printf 2 > "$(printf '\377\376')"
printf 3 > ' -x '
printf 4 > ':(top)*'
mkdir '*'
printf 5 > '*/?'

### links
ln -s /nowhere abs
ln -s ../../x up
ln -s a.txt rel
ln -s . here
rm b.txt
ln -s a.txt b.txt

### file-for-folder
rm -r dir
echo f > dir
rm a.txt
mkdir a.txt
echo x > a.txt/x

### modes
chmod +x a.txt
printf '#!/bin/sh\n' > run
chmod 755 run

### binary
head -c 300000 /dev/urandom > bin

### line-ends
printf '*.t text eol=lf\n' > .gitattributes
printf 'a\r\nb\r\n' > x.t
printf 'c\r\n' > y.t
git add y.t
git commit -qm y

### filter
git config filter.up.clean 'tr a-z A-Z'
printf '*.up filter=up\n' > .gitattributes
echo quiet > x.up

### ident
printf '*.id ident\n' > .gitattributes
echo '$Id: mine$' > x.id

### refused
git config filter.no.clean false
git config filter.no.required true
printf '*.no filter=no\n' > .gitattributes
echo n > x.no
echo y > y

### repository
git init -q inner
inside inner
git init -q d/empty
echo e > d/empty/e

### repository-over-files
git init -q dir
inside dir
echo more >> dir/c.txt

### repository-recorded
git init -q inner
inside inner
git add inner
git commit -qm link

### lock
echo n > n
touch "$(git rev-parse --git-dir)/index.lock"

### index-damaged
echo n > n
echo m > a.txt
echo garbage > "$(git rev-parse --git-dir)/index"

### index-gone
echo n > n
rm "$(git rev-parse --git-dir)/index"

### head-damaged
echo n > n
echo garbage > "$(git rev-parse --git-dir)/HEAD"

### marker-gone
echo n > n
mv .git "$HOME/evidence/marker-$STRATUM_TASK"

### marker-replaced
echo n > n
mv .git "$HOME/evidence/marker-$STRATUM_TASK"
git init -q
echo o > o
git add o
git commit -qm o
cp .git/refs/heads/main "$E/inner"

### no-reflog
rm -rf "$(git rev-parse --git-dir)/logs"
echo n > n
git add n
git commit -qm n
kept HEAD

### gc
echo 1 > n
git add n
git commit -qm 1
kept HEAD
git reset -q --hard HEAD~1
git gc -q

### closed-folder
mkdir -p shut/in
echo s > shut/in/s
echo t > shut/t
cp -a shut "$HOME/evidence/shut-$STRATUM_TASK"
chmod 0 shut/t shut/in shut
