/* os/folder: a folder that goes away with what made it. */
#ifndef ERG_OS_FOLDER_H
#define ERG_OS_FOLDER_H

/* Removes the folder and all below it; links are removed and not followed, other file systems not entered. What cannot be
 * removed stays. 0, or -1 with the errno of the first thing that stayed; a folder that is not there is fine. Any thread. */
int erg_folder_remove(const char *path);

#endif
